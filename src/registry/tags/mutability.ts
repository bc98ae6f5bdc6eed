/**
 * Which tags of a repository cannot be changed: ECR's four values and its filters. Patterns are matched here, not in SQL, so a
 * change is decided on a rule that was read before, and its batch compares the rule's text with the one there is then: what was
 * decided on a rule that has changed since is refused.
 */
import { type Database, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { changesIn, record } from '../../events/outbox.ts';
import { attachedTo } from '../../oci/attachment.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { patternList } from '../../oci/pattern.ts';
import { EXCLUSION, EXCLUSIONS_MAX, type Mutability } from '../../vocabulary/mutability.ts';
import { type FieldError, Refusal, requireNoErrors } from '../../vocabulary/refusal.ts';
import { HERE } from '../repositories/repositories.ts';

const MUTABLE: Mutability = { value: 'MUTABLE', exclusions: [] };

export function isImmutable({ value, exclusions }: Mutability, tag: string): boolean {
  const excluded = patternList(exclusions).matches(tag);
  return value.startsWith('IMMUTABLE') !== excluded;
}

/** A rule as it is stored, which is what batches compare: empty where every tag may move. */
function ruleOf({ value, exclusions }: Mutability): string {
  return value === 'MUTABLE' ? '' : JSON.stringify({ value, exclusions });
}

export function mutabilityOf(rule: string): Mutability {
  return rule === '' ? MUTABLE : (JSON.parse(rule) as Mutability);
}

/** The rule of repository ?1, as an SQL expression. */
export const RULE = `coalesce((SELECT rule FROM tag_mutability WHERE repository_id = ${HERE}), '')`;

/** @throws repository-unknown */
export async function getMutability(
  env: Database,
  repository: RepositoryName,
): Promise<{ mutability: Mutability; rule: string; version: number }> {
  const row = await env.DB.prepare(
    `SELECT coalesce(m.rule, '') AS rule, coalesce(m.version, 1) AS version
     FROM repositories r LEFT JOIN tag_mutability m ON m.repository_id = r.id WHERE r.name = ?1`,
  )
    .bind(repository)
    .first<{ rule: string; version: number }>();
  if (!row) throw new Refusal('repository-unknown');
  return { ...row, mutability: mutabilityOf(row.rule) };
}

function errorsIn({ value, exclusions }: Mutability): FieldError[] {
  const wrong = exclusions.filter((filter) => !EXCLUSION.test(filter)).map((filter) => `"${filter}" is not a filter`);
  const hasSome = exclusions.length > 0 && exclusions.length <= EXCLUSIONS_MAX;
  const fits = value.endsWith('_WITH_EXCLUSION') ? hasSome : exclusions.length === 0;
  const count = `has 1 to ${EXCLUSIONS_MAX} exclusion filters with …_WITH_EXCLUSION, and none without`;
  return [...wrong, ...(fits ? [] : [count])].map((message) => ({ at: '', message }));
}

/**
 * Tags that are there are as immutable from now on as those that come. Where it is so already, nothing happens.
 * @param ifVersion the version it is expected to have, `null` for any
 * @throws request-invalid, repository-unknown, version-mismatch
 */
export async function saveMutability(
  env: Database,
  repository: RepositoryName,
  mutability: Mutability,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<void> {
  requireNoErrors(errorsIn(mutability));
  const rule = ruleOf(mutability);
  const version = `coalesce((SELECT version FROM tag_mutability WHERE repository_id = ${HERE}), 1)`;
  const saved = await tryBatch(env, [
    refuseUnless(env, 'EXISTS (SELECT 1 FROM repositories WHERE name = ?1)', repository),
    refuseUnless(env, `?2 IS NULL OR ${version} = ?2`, repository, ifVersion),
    record(env, {
      about: repository,
      by,
      select: `SELECT 'tag-mutability.saved' AS type, json_object('imageTagMutability', ?4, 'exclusions', json(?5)) AS target,
          ${changesIn([['rule', `iif(${RULE} = '', NULL, json(${RULE}))`, `iif(?3 = '', NULL, json(?3))`]])} AS changes
        WHERE ${RULE} <> ?3`,
      parameters: [rule, mutability.value, JSON.stringify(mutability.exclusions)],
      hasChanges: true,
    }),
    env.DB.prepare(
      `INSERT INTO tag_mutability (repository_id, rule, version) SELECT ${HERE}, ?2, 2 WHERE ${RULE} <> ?2
       ON CONFLICT DO UPDATE SET rule = ?2, version = version + 1`,
    ).bind(repository, rule),
  ]);
  if (saved) return;
  await getMutability(env, repository);
  throw new Refusal('version-mismatch');
}

/** What a change was decided on: the rule's text, and which of some tags may be changed under it. */
export interface Judgement {
  rule: string;
  free: (tags: string[]) => string[];
}

/** Of a rule that was not read: if there is one, no tag is free. */
const UNREAD: Judgement = { rule: '', free: () => [] };

export function judgementOf(rule: string): Judgement {
  const mutability = mutabilityOf(rule);
  return { rule, free: (tags) => tags.filter((tag) => !isImmutable(mutability, tag)) };
}

/** A rule may change between its reading and the batch; somebody who changes it that often is waited for no longer. */
const ATTEMPTS = 3;

/**
 * Tries a change without having read the rule, as most repositories have none or are not touched by it. Where it was refused
 * and there is a rule, it is tried again with that. `null`: refused for whatever reason.
 */
export async function underRule<T>(
  env: Database,
  repository: RepositoryName,
  attempt: (judgement: Judgement) => Promise<T | null>,
): Promise<T | null> {
  let judgement = UNREAD;
  for (let tries = 0; tries < ATTEMPTS; tries++) {
    const done = await attempt(judgement);
    if (done !== null) return done;
    const rule = await env.DB.prepare(`SELECT ${RULE} AS rule`).bind(repository).first<string>('rule');
    if (!rule || rule === judgement.rule) return null;
    judgement = judgementOf(rule);
  }
  return null;
}

/**
 * For a batch that changes tags: refuses it where one of them must not be changed.
 * @param changing a SELECT of the `name` of each tag that it would change; ?1 is the repository, ?2 and ?3 are its parameters
 * @param free of those, the ones that may be changed under the rule
 */
export function guardImmutable(
  env: Database,
  repository: RepositoryName,
  changing: { sql: string; parameters: [second: string, third: string] },
  { rule }: Judgement,
  free: string[],
): D1PreparedStatement {
  return refuseUnless(
    env,
    `${RULE} = '' OR NOT EXISTS (SELECT 1 FROM (${changing.sql})
       WHERE ${RULE} <> ?4 OR name NOT IN (SELECT value FROM json_each(?5)))`,
    repository,
    ...changing.parameters,
    rule,
    JSON.stringify(free),
  );
}

/** @param tags those that it would have changed */
export function immutable(tags: { name: string; digest: string }[]): Refusal {
  const [first] = tags;
  const which =
    tags.length === 1
      ? `the tag ${first?.name} is immutable: it names ${first?.digest}`
      : `${tags.length} tags are immutable, ${first?.name} among them`;
  // cosign adds a second signature or attestation by moving the tag of the first, which ECR and Harbor refuse as well.
  const signs = tags.some(({ name }) => attachedTo(name) !== null);
  const message = signs ? `${which}; to add signatures under such a tag, exclude sha256-* from immutability` : which;
  return new Refusal('tag-immutable', { message, detail: tags.slice(0, 10) });
}
