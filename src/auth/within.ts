/**
 * Helpers for the parts of an organization (teams, robots, trust rules): ranges of subjects, preconditions, and lists by page.
 */
import { type Batch, type Database, newBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import type { Parameters } from '../events/sql.ts';
import { type Page, pageOf } from '../oci/page.ts';
import { Refusal } from '../vocabulary/refusal.ts';

/** `disabled` of a deleted account. The row stays, so that nobody else can take its name. */
export const DELETED = 2;

/** The actor of a change, and the version that it expects: 0 if it expects nothing there, `null` for any version. */
export interface Change {
  ifVersion: number | null;
  by: Actor;
}

/** Subjects from `from` (included) to `before` (excluded), in byte order. */
export type SubjectRange = Readonly<Record<'from' | 'before', string>>;

/** The range that holds one subject. No character of a name is smaller than `-`, and `!` is. */
export function only(subject: string): SubjectRange {
  return { from: subject, before: `${subject}!` };
}

/** All subjects of a kind in an organization. `0` is the character after `/`. */
export function allOf(kind: 'team' | 'robot' | 'ci', organization: string): SubjectRange {
  return { from: `${kind}:${organization}/`, before: `${kind}:${organization}0` };
}

/** SQL: organization :organization exists. */
export const ORGANIZATION_EXISTS = `EXISTS (
  SELECT 1 FROM accounts WHERE subject = 'organization:' || :organization AND disabled = 0)`;

/** Refuses the batch with `not-found` if the organization does not exist. */
export function requireOrganization(batch: Batch, organization: string): void {
  batch.require('not-found', ORGANIZATION_EXISTS, { organization });
}

/**
 * Refuses the batch with `version-mismatch` unless `version` yields the expected one.
 * @param version SELECT of the version. No row counts as version 0
 * @param ifVersion `null`: any version will do
 */
export function requireVersion(batch: Batch, version: string, parameters: Parameters, ifVersion: number | null): void {
  if (ifVersion === null) return;
  batch.require('version-mismatch', `coalesce((${version}), 0) = :ifVersion`, { ...parameters, ifVersion });
}

/**
 * Reads one page of a list and checks that its container exists, in one batch.
 * @param container SQL condition
 * @param rows SELECT that ends with `LIMIT :rows`, which is one more than a page has
 * @throws not-found if the container does not exist
 */
export async function listWithin<Row>(
  env: Database,
  container: string,
  rows: string,
  { limit, ...parameters }: Parameters & { limit: number },
): Promise<Page<Row>> {
  const batch = newBatch(env);
  const containers = batch.query(`SELECT 1 WHERE ${container}`, parameters);
  const found = batch.query<Row>(rows, { ...parameters, rows: limit + 1 });
  const results = await batch.commit({ repeatable: true });
  if (!results.first(containers)) throw new Refusal('not-found');
  return pageOf(results.of(found), limit);
}
