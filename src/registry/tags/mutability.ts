/**
 * Immutable tags of a repository, with ECR's four values and its exclusion filters. The rule is matched in TypeScript, not in
 * SQL, so it is read before the batch is made. The batch has a precondition that the repository still has this rule; otherwise
 * it fails with `overtaken`.
 */
import { type Batch, type Database, newBatch, withRetries } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { attachedTo } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { patternList } from '../../oci/pattern.ts';
import { EXCLUSION, EXCLUSIONS_MAX, MUTABILITIES, type Mutability } from '../../vocabulary/mutability.ts';
import type { Precondition } from '../../vocabulary/reasons.ts';
import { type FieldError, type Particulars, Refusal, requireNoErrors } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID, requireRepository } from '../repositories/repositories.ts';
import type { TagSelection } from './changes.ts';

const MUTABLE: Mutability = { value: 'MUTABLE', exclusions: [] };

export function isImmutable({ value, exclusions }: Mutability, tag: string): boolean {
  const excluded = patternList(exclusions).matches(tag);
  return value.startsWith('IMMUTABLE') !== excluded;
}

export interface TagMutability extends Mutability {
  immutable: boolean;
  /** The filter that makes the tag an exception. `null` if no filter does. */
  excludedBy: string | null;
}

/** Tells whether the tag is immutable, and why. */
export function mutabilityOfTag(mutability: Mutability, tag: string): TagMutability {
  const excludedBy = mutability.exclusions.find((filter) => patternList([filter]).matches(tag)) ?? null;
  return { ...mutability, immutable: isImmutable(mutability, tag), excludedBy };
}

/** Returns the rule as text, in which form it is stored and compared. The text is empty if every tag may move. */
function ruleOf({ value, exclusions }: Mutability): string {
  return value === 'MUTABLE' ? '' : JSON.stringify({ value, exclusions });
}

export function mutabilityOf(rule: string): Mutability {
  return rule === '' ? MUTABLE : (JSON.parse(rule) as Mutability);
}

/** SQL expression: the text of the rule of `:repository`, or '' if every tag may move. */
export const MUTABILITY_RULE = `coalesce((SELECT rule FROM tag_mutability WHERE repository_id = ${REPOSITORY_ID}), '')`;

/** Returns the mutability rule of a repository, both parsed and as text. @throws repository-unknown */
export async function getMutability(
  env: Database,
  repository: RepositoryName,
): Promise<{ mutability: Mutability; rule: string; version: number }> {
  const row = await prepare(
    env,
    `SELECT coalesce(m.rule, '') AS rule, coalesce(m.version, 1) AS version
     FROM repositories r LEFT JOIN tag_mutability m ON m.repository_id = r.id WHERE r.name = :repository`,
    { repository },
  ).first<{ rule: string; version: number }>();
  if (!row) throw new Refusal('repository-unknown');
  return { ...row, mutability: mutabilityOf(row.rule) };
}

function errorsIn({ value, exclusions }: Mutability): FieldError[] {
  const wrong = exclusions
    .filter((filter) => !EXCLUSION.test(filter))
    .map((filter) => `"${filter}" is not a filter: letters, digits, ".", "_", "-" and "*" only`);
  const hasSome = exclusions.length > 0 && exclusions.length <= EXCLUSIONS_MAX;
  const fits = value.endsWith('_WITH_EXCLUSION') ? hasSome : exclusions.length === 0;
  const count = `has 1 to ${EXCLUSIONS_MAX} exclusion filters with …_WITH_EXCLUSION, and none without`;
  const known = MUTABILITIES.includes(value) ? [] : [`is one of ${MUTABILITIES.join(', ')}`];
  return [...known, ...wrong, ...(fits ? [] : [count])].map((message) => ({ at: '', message }));
}

/**
 * Saves which tags are immutable. The rule also applies to existing tags. If the rule is the same as before, nothing is
 * changed.
 * @param ifVersion the version that the rule must have, or `null` for any version
 * @throws request-invalid, repository-unknown, version-mismatch
 */
export async function saveMutability(
  env: Database,
  repository: RepositoryName,
  mutability: Mutability,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<void> {
  const version = `coalesce((SELECT version FROM tag_mutability WHERE repository_id = ${REPOSITORY_ID}), 1)`;
  const batch = newBatch(env);
  requireRepository(batch, repository);
  if (ifVersion !== null) batch.require('version-mismatch', `${version} = :ifVersion`, { repository, ifVersion });
  writeMutability(batch, repository, mutability, by);
  await batch.commit();
}

/** Adds statements to the batch that save which tags are immutable. @throws request-invalid */
export function writeMutability(batch: Batch, repository: RepositoryName, mutability: Mutability, by: Actor): void {
  requireNoErrors(errorsIn(mutability));
  const parameters = { repository, rule: ruleOf(mutability), value: mutability.value, exclusions: mutability.exclusions };
  const ruleIn = (rule: string) => `iif(${rule} = '', NULL, json(${rule}))`;
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'tag-mutability.saved' AS type,
        json_object('imageTagMutability', :value, 'exclusions', json(:exclusions)) AS target,
        ${changesIn([['rule', ruleIn(MUTABILITY_RULE), ruleIn(':rule')]])} AS changes
      WHERE ${MUTABILITY_RULE} <> :rule`,
    parameters,
    hasChanges: true,
  });
  batch.run(
    `INSERT INTO tag_mutability (repository_id, rule, version) SELECT ${REPOSITORY_ID}, :rule, 2
      WHERE ${MUTABILITY_RULE} <> :rule
     ON CONFLICT DO UPDATE SET rule = :rule, version = version + 1`,
    parameters,
  );
}

/**
 * A mutability rule on which a decision is based. The function `free` returns those of the given tags that may be changed under
 * the rule.
 */
export interface Judgement {
  rule: string;
  free: <T extends string>(tags: T[]) => T[];
}

/**
 * Optimistic default: assume that the repository has no mutability rule. If it has one and the change concerns a tag, the batch
 * fails with `overtaken`, and `withMutabilityRule` reads the rule and tries again.
 */
const ASSUMED: Judgement = { rule: '', free: () => [] };

export function judgementOf(rule: string): Judgement {
  const mutability = mutabilityOf(rule);
  return { rule, free: (tags) => tags.filter((tag) => !isImmutable(mutability, tag)) };
}

/**
 * Makes a change under the mutability rule of the repository. The first attempt assumes that there is no rule, because most
 * repositories have none. If it fails with `overtaken`, the rule is read and the change is tried again.
 */
export async function withMutabilityRule<T>(
  env: Database,
  repository: RepositoryName,
  attempt: (judgement: Judgement) => Promise<T>,
): Promise<T> {
  let isRead = false;
  return withRetries(async () => {
    const judgement = isRead ? judgementOf(await readRule(env, repository)) : ASSUMED;
    isRead = true;
    return attempt(judgement);
  });
}

async function readRule(env: Database, repository: RepositoryName): Promise<string> {
  const rule = await prepare(env, `SELECT ${MUTABILITY_RULE} AS rule`, { repository }).first<string>('rule');
  return rule ?? '';
}

/**
 * How to refuse a change of immutable tags: the reason, and the sentence that says what stays unchanged and what to do instead.
 */
interface ImmutableRefusal {
  reason?: Precondition;
  instead?: string;
}

/** Returns the end of the message when a tag is immutable: how the rule can be changed. */
export function howToChangeRule(repository: RepositoryName): string {
  const address = `PUT /api/v1/repositories/${repository}/-/tag-mutability`;
  return `ask the repository's owner or an administrator to change the rule (${address})`;
}

/**
 * Adds preconditions to the batch: it changes no immutable tag, and the repository still has the rule in `judgement`. If the
 * repository has another rule, the batch fails with `overtaken`.
 * @param changing selects the tags that the batch would change, with the columns `name` and `digest`
 * @param decided.names the tags that were checked against the rule
 */
export function requireMutable(
  batch: Batch,
  env: Database,
  repository: RepositoryName,
  changing: Pick<TagSelection, 'sql' | 'parameters'>,
  { judgement, names }: { judgement: Judgement; names: string[] },
  { reason = 'tag-immutable', instead = 'Nothing was changed: push another tag' }: ImmutableRefusal = {},
): void {
  const parameters = { ...changing.parameters, repository };
  batch.require(
    'overtaken',
    `${MUTABILITY_RULE} = '' OR NOT EXISTS (SELECT 1 FROM (${changing.sql})
       WHERE ${MUTABILITY_RULE} <> :rule OR name NOT IN (SELECT value FROM json_each(:names)))`,
    { ...parameters, rule: judgement.rule, names },
  );
  if (judgement.rule === '') return;
  const free = new Set(judgement.free(names));
  const immutable = names.filter((name) => !free.has(name));
  if (immutable.length === 0) return;
  const refused = `SELECT name, digest FROM (${changing.sql}) WHERE name IN (SELECT value FROM json_each(:immutable))`;
  batch.require(reason, `${MUTABILITY_RULE} = '' OR NOT EXISTS (${refused})`, { ...parameters, immutable }, async () => {
    const { results } = await prepare(env, refused, { ...parameters, immutable }).all<{ name: string; digest: Digest }>();
    return results.length > 0 ? immutableTags(results, `${instead}, or ${howToChangeRule(repository)}`) : null;
  });
}

/**
 * Returns the message and detail of a refusal.
 * @param tags the immutable tags that the batch would have changed
 * @param remedy the end of the message: what to do
 */
function immutableTags(tags: { name: string; digest: Digest }[], remedy: string): Particulars {
  const [first] = tags;
  const which =
    tags.length === 1
      ? `the tag ${first?.name} is immutable, and stays at ${first?.digest}`
      : `${tags.length} tags are immutable, ${first?.name} among them`;
  // cosign adds a second signature or attestation by moving the tag of the first one. This is refused too, as in ECR and
  // Harbor.
  const signs = tags.some(({ name }) => attachedTo(name) !== null);
  const signing = signs ? '. To add signatures under such a tag, exclude sha256-* from immutability' : '';
  return { message: `${which}${signing}. ${remedy}`, detail: tags.slice(0, 10) };
}
