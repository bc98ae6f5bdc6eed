/** Checks an answer of the management API against the OpenAPI document. */
import { expect } from 'vitest';
import { api } from '../../src/http/api/all.ts';
import { type Operation, operationOf } from '../../src/http/api/operation.ts';

interface Described {
  method: string;
  pattern: RegExp;
  operation: Operation;
}

const operations = api
  .flatMap(({ routes }) => routes)
  .flatMap(({ method, path, handler }): Described[] => {
    const operation = operationOf(handler);
    return operation ? [{ method, pattern: patternOf(path), operation }] : [];
  });

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/:\w+\{\.\+\}/g, '.+').replaceAll(/:\w+/g, '[^/]+')}/?$`);
}

/**
 * Expects that a success has a documented status and exactly the documented fields, and that a refusal has the form of errors.
 * @param path the part of the path after `/api/v1`
 */
export function expectAsDescribed(method: string, path: string, { status, body }: { status: number; body: unknown }): void {
  const bare = (path.split('?', 1)[0] ?? '').replaceAll(/%2f/gi, '/');
  const found = operations.find((one) => one.method === method && one.pattern.test(bare));
  if (status >= 400) {
    expect(body, `${method} ${path}`).toMatchObject({ errors: [{ code: expect.any(String), message: expect.any(String) }] });
    return;
  }
  const answer = found?.operation.answers[status];
  expect(answer, `${method} ${path} answers ${status}, which its description does not name`).toBeDefined();
  if (!answer?.schema) expect(body, `${method} ${path}`).toBeNull();
  else if (typeof body !== 'string') answer.schema.parse(body);
}
