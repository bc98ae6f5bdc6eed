/**
 * `fsck` reports inconsistencies of the registry. Each finding is a sentence with a remedy. `fsck` changes nothing. It reads
 * each table in the order of its primary key, some hundred rows per call. It does not read R2, but repeats the findings of the
 * scrub job, which does.
 */
import { type Check, type Finding, STEPS } from './fsck-checks.ts';
import { type Cursor, isExhausted, type Key, NOTHING_SPENT, type Stores } from './passes.ts';

/** The number of findings after which a page of findings ends. */
const FINDINGS_MAX = 100;

/**
 * Returns one page of findings. A page may be empty although more pages follow.
 * @param from the `next` of the previous page, or `null` for the first page
 */
export async function fsck(env: Stores, from: Cursor | null): Promise<{ items: Finding[]; next: Cursor | null }> {
  const check: Check = { env, spent: { ...NOTHING_SPENT }, findings: [] };
  let cursor = from ?? beginning(0);
  while (cursor && !isExhausted(check) && check.findings.length < FINDINGS_MAX) {
    const at: number = STEPS.findIndex(([phase]) => phase === cursor?.phase);
    const after: Key | null | undefined = await STEPS[at]?.[1].look(check, cursor.after);
    cursor = after ? { phase: cursor.phase, after } : beginning(at + 1);
  }
  return { items: check.findings, next: cursor };
}

function beginning(at: number): Cursor | null {
  const entry = STEPS[at];
  return entry ? { phase: entry[0], after: entry[1].start } : null;
}

/** Returns true if `fsck` can have returned this cursor. Callers send cursors back, so they may be forged. */
export function isFsckCursor({ phase, after }: Cursor): boolean {
  const start = STEPS.find(([name]) => name === phase)?.[1].start;
  return start?.length === after.length && start.every((part, n) => typeof part === typeof after[n]);
}
