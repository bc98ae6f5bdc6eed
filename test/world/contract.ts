/** Checks answers of the management API against the OpenAPI document. */
import { expect } from 'vitest';
import { describedRoutes } from '../../src/http/api/reference/all.ts';
import { errorsOf } from '../../src/http/api/reference/declared-errors.ts';
import type { Described as Operation } from '../../src/http/api/reference/described.ts';
import { requirementOf } from '../../src/http/routes.ts';

interface Described {
  method: string;
  pattern: RegExp;
  operation: Operation;
  /** The status and code of each error that the operation documents. */
  errors: Set<string>;
}

const operations = describedRoutes.map(({ method, path, operation }): Described => {
  const full = `/api/v1${path}`;
  const errors = errorsOf(full, requirementOf(method, full), operation).map(({ status, code }) => `${status} ${code}`);
  return { method, pattern: patternOf(path), operation, errors: new Set(errors) };
});

/** The errors of requests that match no operation, and of requests that a webhook sends. */
const EVERYWHERE = ['404 UNSUPPORTED', '405 UNSUPPORTED', '508 DENIED'];

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/:\w+\{\.\+\}/g, '.+').replaceAll(/:\w+/g, '[^/]+')}/?$`);
}

/**
 * Expects that a success has a documented status and exactly the documented fields, and that a refusal has the form of errors,
 * with a documented status and code.
 * @param path the part of the path after `/api/v1`
 */
export function expectAsDescribed(method: string, path: string, { status, body }: { status: number; body: unknown }): void {
  const bare = (path.split('?', 1)[0] ?? '').replaceAll(/%2f/gi, '/');
  const found = operations.find((one) => one.method === method && one.pattern.test(bare));
  if (status >= 400) {
    expect(body, `${method} ${path}`).toMatchObject({ errors: [{ code: expect.any(String), message: expect.any(String) }] });
    const error = `${status} ${(body as { errors: [{ code: string }] }).errors[0].code}`;
    const isDeclared = !found || found.errors.has(error) || EVERYWHERE.includes(error);
    expect(isDeclared, `${method} ${path} answers ${error}, which it does not declare: ${JSON.stringify(body)}`).toBe(true);
    return;
  }
  const answer = found?.operation.answers[status];
  expect(answer, `${method} ${path} answers ${status}, which its description does not name`).toBeDefined();
  if (!answer?.schema) expect(body, `${method} ${path}`).toBeNull();
  else if (typeof body !== 'string') answer.schema.parse(body);
}
