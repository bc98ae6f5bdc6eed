/**
 * Taking tags and manifests away, into the trash: by reference, as a client asks for it, or as many as a rule has chosen. Each
 * is one batch, which sees by itself whether what it was decided on still holds.
 */
import { type Env, settings, type Vars } from '../../env.ts';
import { type Database, persistently, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import type { Condition } from '../../oci/condition.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Reference, Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { stillReferenced } from '../blobs.ts';
import { HERE } from '../repositories/repositories.ts';
import { dropTags, tagNamed, tagsNaming, tagsOfList, tagsWithoutSubject } from '../tags/changes.ts';
import { type Conditional, failingCondition, guardConditions } from '../tags/guards.ts';
import { guardImmutable, immutable, type Judgement, judgementOf, RULE, underRule } from '../tags/mutability.ts';
import { type AttachedTag, attachedBelow } from './attached.ts';
import { dropManifests } from './drop.ts';
import { unknownManifest } from './manifests.ts';
import { unmetCondition } from './put-refusals.ts';
import { type DocumentRow, INLINE_REFERENCES, referencesOf } from './references.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** @throws parameter-invalid where the registry is set to delete nothing */
export function requireDeletion(env: Vars): void {
  if (settings(env).deletion) return;
  throw new Refusal('deletion-disabled');
}

/**
 * end-9. A tag goes alone; a digest goes with its tags.
 * @param condition of the request: what the tag must name, or whether the manifest must be there
 * @throws manifest-unknown, content-referenced, deletion-disabled, tag-immutable, condition-failed
 */
export async function deleteManifest(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
  condition: Condition | null,
  by: Actor,
): Promise<void> {
  requireDeletion(env);
  if (reference.digest) await deleteByDigest(env, { repository, digest: reference.digest, tags: [], condition }, by);
  else await deleteTag(env, repository, reference.tag, condition, by);
}

async function deleteTag(
  env: Database,
  repository: RepositoryName,
  tag: Tag,
  condition: Condition | null,
  by: Actor,
): Promise<void> {
  const selection = tagNamed(tag);
  const on = { repository, digest: '' as Digest, tags: [tag], condition };
  const attempt = (judgement: Judgement) =>
    tryBatch(env, [
      guardImmutable(env, repository, { sql: selection.sql, parameters: ['', tag] }, judgement, judgement.free([tag])),
      ...guardConditions(env, on),
      ...dropTags(env, repository, selection, { by, reason: null }, true),
    ]);
  const deleted = await persistently(
    () => underRule(env, repository, attempt),
    async () => (await unmet(env, on)) ?? (await immutableAmong(env, repository, selection.sql, tag)),
  );
  if (!deleted.at(-1)?.results.length) throw unknownManifest({ tag });
}

/** What is not there is a 404, whatever the condition (RFC 9110, 13.2.1). */
async function unmet(env: Database, on: Conditional): Promise<Refusal | null> {
  const failing = await failingCondition(env, on);
  if (failing?.now === '') return unknownManifest(on.tags[0] ? { tag: on.tags[0] } : { digest: on.digest });
  return failing && unmetCondition(failing);
}

/** What lists manifest ?2. */
const PARENTS = `SELECT parent FROM manifest_references WHERE repository_id = ${HERE} AND child = ?2`;

async function deleteByDigest(env: Stores, on: Conditional, by: Actor): Promise<void> {
  const { repository, digest } = on;
  const { gone } = await persistently(
    () => deleteOnce(env, on, by),
    async () => {
      const { results } = await env.DB.prepare(`${PARENTS} LIMIT 10`).bind(repository, digest).all<{ parent: string }>();
      const referencedBy = results.map((row) => row.parent);
      if (referencedBy.length > 0) return stillReferenced(digest, referencedBy);
      return (await unmet(env, on)) ?? (await immutableAmong(env, repository, tagsNaming(digest).sql, digest));
    },
  );
  if (!gone) throw unknownManifest({ digest });
}

/** `null`: refused. @throws manifest-unknown */
async function deleteOnce(env: Stores, on: Conditional, by: Actor): Promise<{ gone: number | undefined } | null> {
  const { repository, digest } = on;
  const tags = tagsNaming(digest);
  const references = await referencesHere(env, repository, [digest]);
  if (references.length === 0) throw unknownManifest({ digest });
  const attached = await attachedStatements(env, repository, digest, by);
  return underRule(env, repository, async (judgement) => {
    const names = judgement.rule === '' ? [] : (await tagsHere(env, repository, tags.sql, digest)).map(({ name }) => name);
    const { entries, rest, answering } = dropManifests(env, repository, references, { by, reason: null }, 'TRUE');
    const results = await tryBatch(env, [
      refuseUnless(env, `NOT EXISTS (${PARENTS})`, repository, digest),
      guardImmutable(env, repository, { sql: tags.sql, parameters: ['', digest] }, judgement, judgement.free(names)),
      ...guardConditions(env, on),
      ...entries,
      ...dropTags(env, repository, tags, { by, reason: null }, false),
      ...rest,
      ...attached,
    ]);
    return results && { gone: results.at(answering - rest.length - attached.length)?.results.length };
  });
}

/** For the batch that deletes a manifest, after it: the tags that belong to it go, and what they named, unless something else holds it. */
async function attachedStatements(env: Stores, repository: RepositoryName, digest: Digest, by: Actor) {
  const levels = await attachedBelow(env, repository, digest);
  if (levels.length === 0) return [];
  const references = await referencesHere(env, repository, [...new Set(levels.flat().map((tag) => tag.digest))]);
  return levels.flatMap((level) => {
    const named = references.filter((manifest) => level.some((tag) => tag.digest === manifest.digest));
    const { entries, rest } = dropManifests(env, repository, named, { by, reason: null }, UNNAMED);
    return [...dropTags(env, repository, tagsWithoutSubject(level), { by, reason: null }, true), ...entries, ...rest];
  });
}

/** @param selection of tags; ?1 is the repository, ?3 its parameter */
async function tagsHere(env: Database, repository: RepositoryName, selection: string, parameter: string) {
  const { results } = await env.DB.prepare(`SELECT name, digest FROM (${selection})`)
    .bind(repository, null, parameter)
    .all<{ name: Tag; digest: Digest }>();
  return results;
}

async function immutableAmong(env: Database, repository: RepositoryName, selection: string, parameter: string) {
  const tags = await tagsHere(env, repository, selection, parameter);
  const rule = await env.DB.prepare(`SELECT ${RULE} AS rule`).bind(repository).first<string>('rule');
  const free = judgementOf(rule ?? '').free(tags.map(({ name }) => name));
  const fixed = tags.filter(({ name }) => !free.includes(name));
  return fixed.length > 0 ? immutable(fixed) : null;
}

/** Of those that are there: what they point at. */
async function referencesHere(env: Stores, repository: RepositoryName, digests: Digest[]) {
  const { results } = await env.DB.prepare(
    `SELECT m.digest, m.object_key, ${INLINE_REFERENCES} FROM json_each(?2) d
     CROSS JOIN manifests m ON m.repository_id = ${HERE} AND m.digest = d.value`,
  )
    .bind(repository, JSON.stringify(digests))
    .all<DocumentRow>();
  return Promise.all(
    results.map(async (row) => ({
      digest: row.digest,
      references: (await referencesOf(env, row)) ?? (await referencesByRow(env, repository, row.digest)),
    })),
  );
}

/** Of a document that is gone. Reads all references of the repository: no index is kept for that. */
async function referencesByRow(env: Database, repository: RepositoryName, parent: Digest): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT child FROM manifest_references WHERE repository_id = ${HERE} AND parent = ?2`,
  )
    .bind(repository, parent)
    .all<{ child: string }>();
  return results.map(({ child }) => child);
}

interface GoneTag {
  tag: Tag;
  digest: Digest;
}

/** What a rule has chosen. Whatever has changed since it was chosen stays. */
export interface Doomed {
  /** The rule on immutable tags that it was chosen under; where there is another by now, all of it stays. */
  rule: string;
  /** Those that still name it. `reserved`: it is immutable, and the name is kept for what it named. */
  tags: { tag: Tag; digest: Digest; reserved: boolean }[];
  /** Parents before their children, subjects before their referrers: each level goes after the one before it. */
  levels: Digest[][];
  /** Tags that belong to manifests of these levels by their name: each goes after its subject, and only if that went. */
  attached?: AttachedTag[];
}

/** What nothing else holds: no tag, no manifest that lists it, and no subject. */
const UNNAMED = `NOT EXISTS (SELECT 1 FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${HERE} AND digest = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifest_references WHERE repository_id = ${HERE} AND child = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = ${HERE} AND s.digest = m.subject)`;

/** The same, and nobody was told that it is here. */
const UNHELD = `${UNNAMED} AND m.leased_until <= unixepoch()`;

/**
 * One batch: returns what really went. @param reason which rule it was, for people
 * @param whole all of it, or nothing where any of it has changed
 * @throws parameter-invalid where the registry is set to delete nothing
 */
export async function deleteDoomed(
  env: Stores,
  repository: RepositoryName,
  { rule, tags, levels, attached = [] }: Doomed,
  { whole = false, ...deletion }: { by: Actor; reason: string; whole?: boolean },
): Promise<{ tags: GoneTag[]; manifests: Digest[] }> {
  requireDeletion(env);
  const references = new Map(
    (await referencesHere(env, repository, levels.flat())).map((manifest) => [manifest.digest, manifest]),
  );
  const dropped = dropTags(env, repository, tagsOfList(tags), deletion, true);
  const steps = levels.map((level) => {
    const known = level.flatMap((digest) => references.get(digest) ?? []);
    const { entries, rest, answering } = dropManifests(env, repository, known, deletion, UNHELD);
    const own = attached.filter(({ subject }) => level.includes(subject));
    const after = own.length > 0 ? dropTags(env, repository, tagsWithoutSubject(own), deletion, true) : [];
    return {
      statements: [...entries, ...rest, ...after],
      answering: entries.length + answering,
      tagsAt: after.length > 0 ? entries.length + rest.length + after.length - 1 : null,
    };
  });
  const listed = [...tags, ...attached];
  const { before: changed, after: left } = whole
    ? guardWhole(env, repository, listed, levels.flat())
    : { before: [], after: [] };
  const guards = [refuseUnless(env, `${RULE} = ?2`, repository, rule), ...changed];
  const results = await tryBatch(env, [...guards, ...dropped, ...steps.flatMap(({ statements }) => statements), ...left]);
  if (!results) return { tags: [], manifests: [] };
  const gone = results[guards.length + dropped.length - 1]?.results as GoneTag[];
  let before = guards.length + dropped.length;
  const manifests: Digest[] = [];
  for (const { statements, answering, tagsAt } of steps) {
    manifests.push(...((results[before + answering]?.results ?? []) as GoneTag[]).map(({ digest }) => digest));
    if (tagsAt !== null) gone.push(...((results[before + tagsAt]?.results ?? []) as GoneTag[]));
    before += statements.length;
  }
  return { tags: gone, manifests };
}

/**
 * What keeps a batch from doing half of it: before, each tag names what it did and each manifest is there; after, none of the
 * manifests is, which something may have come to hold.
 */
function guardWhole(env: Database, repository: RepositoryName, tags: GoneTag[], manifests: Digest[]) {
  const { sql, parameter } = tagsOfList(tags.map(({ tag, digest }) => ({ tag, digest, reserved: false })));
  const list = JSON.stringify(manifests);
  const there = `(SELECT count(*) FROM json_each(?2) CROSS JOIN manifests m ON m.repository_id = ${HERE} AND m.digest = value)`;
  const all = `(SELECT count(*) FROM (${sql})) = json_array_length(?3) AND ${there} = json_array_length(?2)`;
  return {
    before: [refuseUnless(env, all, repository, list, parameter)],
    after: [refuseUnless(env, `${there} = 0`, repository, list)],
  };
}
