/**
 * Helpers for the teams, robots and trust rules of an organization: ranges of subjects, preconditions of batches, and paginated
 * lists.
 */
import { type Batch, type Database, newBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import type { Parameters } from '../events/sql.ts';
import { type Page, pageOf } from '../oci/page.ts';
import { Refusal } from '../vocabulary/refusal.ts';

/** The value of the column `disabled` for a deleted account. Its row is kept, so that nobody else can take the name. */
export const DELETED = 2;

/**
 * The actor of a change, and the version that the object must have. 0 means that it must not exist; `null` allows any version.
 */
export interface Change {
  ifVersion: number | null;
  by: Actor;
}

/** The subjects from `from` (included) to `before` (excluded), in byte order. */
export type SubjectRange = Readonly<Record<'from' | 'before', string>>;

/**
 * Returns the range that contains only this subject. `!` is smaller than every character of a name, so longer subjects that
 * begin with this one are after the range.
 */
export function only(subject: string): SubjectRange {
  return { from: subject, before: `${subject}!` };
}

/** Returns the range of all subjects of this kind in an organization. `0` is the character after `/`. */
export function allOf(kind: 'team' | 'robot' | 'ci', organization: string): SubjectRange {
  return { from: `${kind}:${organization}/`, before: `${kind}:${organization}0` };
}

/** SQL condition: organization :organization exists. */
export const ORGANIZATION_EXISTS = `EXISTS (
  SELECT 1 FROM accounts WHERE subject = 'organization:' || :organization AND disabled = 0)`;

/** Adds a precondition to the batch: the organization exists. Otherwise the batch fails with `not-found`. */
export function requireOrganization(batch: Batch, organization: string): void {
  batch.require('not-found', ORGANIZATION_EXISTS, { organization });
}

/**
 * Adds a precondition to the batch: the present version is the expected one. Otherwise the batch fails with `version-mismatch`.
 * @param version a SELECT of the present version. No row counts as version 0
 * @param ifVersion the expected version, or `null` to accept any version
 */
export function requireVersion(batch: Batch, version: string, parameters: Parameters, ifVersion: number | null): void {
  if (ifVersion === null) return;
  batch.require('version-mismatch', `coalesce((${version}), 0) = :ifVersion`, { ...parameters, ifVersion });
}

/**
 * Reads one page of a list and checks that the container of the list exists, in one batch.
 * @param container an SQL condition: the container exists
 * @param rows a SELECT that ends with `LIMIT :rows`. This limit is one more than the page has
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
