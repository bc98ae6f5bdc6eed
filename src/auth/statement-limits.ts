/**
 * Limits of the statements of a policy, an access key or a trust rule. A request may have to read statements that somebody else wrote
 * (invariant 12), so every function that stores statements checks them here. Pure.
 */

import { PATTERNS_MAX, POLICY_MAX_BYTES, STATEMENTS_MAX } from '../vocabulary/limits.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Statement } from './statement.ts';

/** Different principals of all statements together: each is a row of an index. */
const PRINCIPALS_MAX = 200;

/** @param what the name in the refusal: "a policy", "a key" @throws request-invalid, which names the limit */
export function checkStatements(statements: readonly Statement[], what = 'a policy'): void {
  refuseOver(statements.length, STATEMENTS_MAX, 'statements', what);
  statements.forEach(({ repositories, tags = [], principals = [] }, n) => {
    for (const [name, list] of Object.entries({ repositories, tags, principals })) {
      refuseOver(list.length, PATTERNS_MAX, `${name} in one statement`, what, ` (statement ${n + 1})`);
    }
  });
  refuseOver(new Set(statements.flatMap(({ principals = [] }) => principals)).size, PRINCIPALS_MAX, 'principals in all', what);
  refuseOver(bytesOf(statements), POLICY_MAX_BYTES, 'bytes as JSON', what);
}

/** UTF-8 bytes of the stored JSON. */
export function bytesOf(statements: readonly Statement[]): number {
  return new TextEncoder().encode(JSON.stringify(statements)).byteLength;
}

function refuseOver(count: number, limit: number, unit: string, what: string, where = ''): void {
  if (count <= limit) return;
  throw new Refusal('request-invalid', {
    message: `${what} has up to ${limit} ${unit}; this one has ${count}${where}. Nothing was saved.`,
    detail: { limit, count },
  });
}
