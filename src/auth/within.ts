/**
 * What the parts of an organization have in common: they need it to be there, all that bears its name stands together, and
 * is listed page by page.
 */
import { refuseUnless } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import { type Page, pageOf } from '../oci/page.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Database } from './directory.ts';

/** `disabled` of an account that was deleted: disabled for ever, so that its name passes to nobody. */
export const DELETED = 2;

/** Who changes something, and the version that they have seen: 0 for nothing, `null` for whichever there is. */
export interface Change {
  ifVersion: number | null;
  by: Actor;
}

/** Subjects from one on and before another, in the order of their bytes. */
export interface Span {
  from: string;
  before: string;
}

/** Nothing that a name may hold is smaller than `-`. */
export function only(subject: string): Span {
  return { from: subject, before: `${subject}!` };
}

/** `0` is what comes after the slash. */
export function allOf(kind: 'team' | 'robot' | 'ci', organization: string): Span {
  return { from: `${kind}:${organization}/`, before: `${kind}:${organization}0` };
}

/** SQL: organization ?1 is there. */
export const ORGANIZATION_IS_THERE = `EXISTS (SELECT 1 FROM accounts WHERE subject = 'organization:' || ?1 AND disabled = 0)`;

/** For a batch that changes something within an organization: refuses it where there is none. */
export function requireOrganization(env: Database, organization: string): D1PreparedStatement {
  return refuseUnless(env, ORGANIZATION_IS_THERE, organization);
}

/** For the same, after it was refused. */
export function organizationRow(env: Database, organization: string): D1PreparedStatement {
  return env.DB.prepare(`SELECT 1 WHERE ${ORGANIZATION_IS_THERE}`).bind(organization);
}

/**
 * A page, and whether there is what it is a list of, in one go.
 * @param container yields a row if it is there
 * @param rows yields one more than `limit` where there are more
 * @throws not-found
 */
export async function listWithin<T>(
  env: Database,
  container: D1PreparedStatement,
  rows: D1PreparedStatement,
  limit: number,
): Promise<Page<T>> {
  const [there, found] = await env.DB.batch([container, rows]);
  if (!there?.results.length) throw new Refusal('not-found');
  const results = (found?.results ?? []) as T[];
  return pageOf(results, limit);
}
