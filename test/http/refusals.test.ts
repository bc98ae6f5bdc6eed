/** The tables with the status and code of each refusal under /v2 and in the API. */
import { expect, test } from 'vitest';
import { errorResponse } from '../../src/http/errors.ts';
import { API, V2 } from '../../src/http/refusals.ts';
import { REASONS, type Reason } from '../../src/vocabulary/reasons.ts';
import { Refusal } from '../../src/vocabulary/refusal.ts';
import { SPEC_CODES } from '../world/spec-codes.ts';

const reasons = Object.keys(REASONS) as Reason[];

test('every 4xx answer under /v2 has a code of the specification', () => {
  const others = reasons.filter((reason) => V2[reason][0] < 500 && !SPEC_CODES.includes(V2[reason][1]));
  expect(others).toEqual([]);
});

test('a reason has the same status in /v2 and /api, unless protocol clients need another one', () => {
  const different = reasons.filter((reason) => V2[reason][0] !== API[reason][0]);
  expect(different).toEqual(['content-gone', 'overtaken']);
});

test('a lost race is a conflict or retryable, never a storage error', () => {
  expect([V2.overtaken[0], API.overtaken[0]]).toEqual([429, 409]);
});

test.each(reasons)('%s has a message in both tables, and Retry-After if a retry may help', async (reason) => {
  for (const path of ['/v2/acme/api/tags/list', '/api/v1/me']) {
    const answer = errorResponse(new Refusal(reason), path);
    const { errors } = (await answer.json()) as { errors: { code: string; message: string }[] };
    expect(errors).toEqual([{ code: (path.startsWith('/api') ? API : V2)[reason][1], message: REASONS[reason] }]);
    expect(answer.headers.has('retry-after')).toBe([429, 503].includes(answer.status));
  }
});

test('the details of a refusal are where the protocol wants them', () => {
  const late = errorResponse(new Refusal('memory-full', { retryAfter: 7 }), '/v2/');
  expect(late.headers.get('retry-after')).toBe('7');
  const outside = errorResponse(new Refusal('range-not-satisfiable', { size: 10 }), '/v2/');
  expect(outside.headers.get('content-range')).toBe('bytes */10');
  const kept = errorResponse(new Refusal('content-referenced'), '/v2/');
  expect(kept.headers.get('allow')).toBe('GET, HEAD');
});
