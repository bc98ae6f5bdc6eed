/**
 * What is wrong in the registry, in sentences, and what helps. Reads only: table by table, each by its primary key, some hundred
 * rows a call. What R2 holds is the scrub's matter; here is what it found.
 */
import { algorithmOf, type Digest, digestOf } from '../../oci/digest.ts';
import { jsonBytes } from '../../oci/json.ts';
import { type Finding, missingBlobs, missingChildren } from './fsck-findings.ts';
import { type Cursor, getPasses, type Key } from './passes.ts';
import type { ScrubReport } from './scrub.ts';
import { isSpent, NOTHING_SPENT, read, type Spent, type Stores } from './slice.ts';
import { walk } from './walk.ts';

export interface Check {
  env: Stores;
  spent: Spent;
  found: Finding[];
}

interface Step {
  start: Key;
  /** Adds what it finds; answers where to go on, `null` at the end. */
  look(check: Check, after: Key): Promise<Key | null>;
}

/** Rows of one table that are described a call: each takes a look at what is around it. */
const DESCRIBED = 20;
/** Bytes of documents that are read at once. */
const DOCUMENTS_MAX = 1_000_000;
/** Findings after which a page ends. */
const ENOUGH = 100;
/** Bytes of findings about blobs of one step. With what else a page may have, it keeps within 1 MiB. */
const BLOBS_MAX_BYTES = 256 * 1024;
/** Repositories that are named for one blob. */
const REPOSITORIES_NAMED = 50;

const SCRUB: Step = {
  start: [],
  async look({ env, found }) {
    const { finished, running } = await getPasses<ScrubReport>(env, 'scrub');
    const problems = new Set([...(finished?.problems ?? []), ...(running?.problems ?? [])]);
    for (const problem of problems) {
      found.push({
        problem: `the scrub found: ${problem}`,
        remedy: 'What is named below is still so; the rest was repaired since',
      });
    }
    return null;
  },
};

const BLOBS: Step = {
  start: [''],
  async look(check, after) {
    const { keys, next } = await walk(
      check,
      { table: 'blobs', key: ['digest'], condition: 'x.missing_since IS NOT NULL' },
      after,
      DESCRIBED,
    );
    return (await describeBlobs(check, keys.flat() as Digest[])) ?? next;
  },
};

/** Blobs one after the other, as far as a page has room. Answers where to go on, where it ends before the last of them. */
async function describeBlobs(check: Check, digests: Digest[]): Promise<Key | null> {
  if (digests.length === 0) return null;
  const found = Map.groupBy(await missingBlobs(check, digests), ({ digest }) => digest);
  let bytes = 0;
  for (const [n, digest] of digests.entries()) {
    const ofBlob = firstOf(found.get(digest) ?? [], digest);
    bytes += jsonBytes(ofBlob);
    const before = digests[n - 1];
    if (before !== undefined && bytes > BLOBS_MAX_BYTES) return [before];
    check.found.push(...ofBlob);
  }
  return null;
}

/** A blob may be in thousands of repositories. */
function firstOf(found: Finding[], digest: Digest): Finding[] {
  if (found.length <= REPOSITORIES_NAMED) return found;
  const more = found.length - REPOSITORIES_NAMED;
  const problem = `the bytes of blob ${digest} are gone or damaged in ${more} more ${more === 1 ? 'repository' : 'repositories'} at least`;
  return [
    ...found.slice(0, REPOSITORIES_NAMED),
    { digest, problem, remedy: 'One push of it, to any of them, heals all of them' },
  ];
}

interface DocumentRow {
  repository_id: number;
  digest: Digest;
  object_key: string | null;
  content: string | null;
  repository: string | null;
  trashed: number;
}

/** Documents in the database are read and hashed: nobody else looks at them again. */
const MANIFESTS: Step = {
  start: [0, ''],
  async look(check, after) {
    const rows = await read<DocumentRow>(
      check,
      check.env.DB.prepare(
        `SELECT m.repository_id, m.digest, m.object_key, m.content, r.name AS repository,
           EXISTS (SELECT 1 FROM trash t WHERE t.repository_id = m.repository_id AND t.kind = 'repository' AND t.name = '') AS trashed
         FROM (SELECT *, sum(coalesce(length(content), 0)) OVER (ORDER BY repository_id, digest) - coalesce(length(content), 0) AS before
             FROM (SELECT * FROM manifests WHERE (repository_id, digest) > (?1, ?2) ORDER BY repository_id, digest LIMIT 200)) m
           LEFT JOIN repositories r ON r.id = m.repository_id
         WHERE before < ${DOCUMENTS_MAX} ORDER BY m.repository_id, m.digest`,
      ).bind(...after),
    );
    for (const row of rows) check.found.push(...(await faultsOfManifest(row)));
    const last = rows.at(-1);
    return last ? [last.repository_id, last.digest] : null;
  },
};

async function faultsOfManifest({ repository_id, digest, object_key, content, ...row }: DocumentRow): Promise<Finding[]> {
  const of = { digest, ...(row.repository === null ? {} : { repository: row.repository }) };
  const where = row.repository ?? `the repository with the id ${repository_id}`;
  const found: Finding[] = [];
  if (row.repository === null && row.trashed === 0) {
    found.push({
      ...of,
      problem: `manifest ${digest} belongs to ${where}, which is neither there nor in the trash`,
      remedy: 'Nobody can reach it. It takes room until its rows are deleted by hand',
    });
  }
  if (object_key === '') {
    const problem = `the document of manifest ${digest} in ${where} is gone`;
    found.push({ ...of, problem, remedy: 'Push it again: the same bytes have the same digest' });
  }
  if (content !== null && (await digestOf(algorithmOf(digest), new TextEncoder().encode(content))) !== digest) {
    const problem = `the document of manifest ${digest} in ${where} is not what its digest says`;
    found.push({ ...of, problem, remedy: 'Delete it by its digest, purge it from the trash, and push it again' });
  }
  return found;
}

const REFERENCES: Step = {
  start: [0, '', ''],
  async look(check, after) {
    const condition = `NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)
      OR NOT EXISTS (SELECT 1 FROM repository_blobs l JOIN blobs USING (digest) WHERE l.digest = x.child AND l.repository_id = x.repository_id)
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.child)`;
    const key = ['repository_id', 'child', 'parent'];
    const { keys, next } = await walk(check, { table: 'manifest_references', key, condition }, after, DESCRIBED);
    if (keys.length > 0) check.found.push(...(await missingChildren(check, keys)));
    return next;
  },
};

const TAGS: Step = {
  start: [0, ''],
  async look(check, after) {
    const condition = `NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.digest)`;
    const { keys, next } = await walk(check, { table: 'tags', key: ['repository_id', 'name'], condition }, after, DESCRIBED);
    const rows = await described<{ tag: string; digest: string }>(
      check,
      keys,
      `SELECT r.name AS repository, t.name AS tag, t.digest FROM json_each(?1) k
       CROSS JOIN tags t ON t.repository_id = k.value ->> 0 AND t.name = k.value ->> 1
       LEFT JOIN repositories r ON r.id = t.repository_id`,
    );
    for (const { repository, tag, digest } of rows) {
      const problem = `tag ${tag} of ${repository ?? 'a deleted repository'} names ${digest}, which is not there`;
      const remedy = 'Push the tag again, delete it, or bring it back to what it named before';
      check.found.push({ problem, remedy, tag, digest, ...(repository ? { repository } : {}) });
    }
    return next;
  },
};

/** A tag can come back while its manifest is there, or is in the trash as well. */
const TRASH: Step = {
  start: [0, '', ''],
  async look(check, after) {
    const trashed = `SELECT 1 FROM trashed_manifests m WHERE m.repository_id = x.repository_id AND m.object_key IS NOT '' AND m.digest`;
    const condition = `x.purging = 0 AND CASE x.kind WHEN 'manifest' THEN NOT EXISTS (${trashed} = x.name)
      WHEN 'tag' THEN NOT EXISTS (${trashed} = x.digest)
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.digest) ELSE 0 END`;
    const key = ['repository_id', 'kind', 'name'];
    const { keys, next } = await walk(check, { table: 'trash', key, condition }, after, DESCRIBED);
    const rows = await described<{ kind: 'tag' | 'manifest'; name: string; digest: string | null }>(
      check,
      keys,
      `SELECT t.repository, t.kind, t.name, t.digest FROM json_each(?1) k
       CROSS JOIN trash t ON t.repository_id = k.value ->> 0 AND t.kind = k.value ->> 1 AND t.name = k.value ->> 2`,
    );
    for (const { repository, kind, name, digest } of rows) {
      const problem = `${kind} ${name} of ${repository} is in the trash, but what it needs to be restored is gone`;
      const of = kind === 'tag' ? { tag: name, ...(digest ? { digest } : {}) } : { digest: name };
      check.found.push({
        problem,
        remedy: 'It can only be pushed again. Purge it, or let its days pass',
        repository: repository ?? '',
        ...of,
      });
    }
    return next;
  },
};

async function described<T>(check: Check, keys: Key[], sql: string): Promise<(T & { repository: string | null })[]> {
  if (keys.length === 0) return [];
  return read(check, check.env.DB.prepare(sql).bind(JSON.stringify(keys)));
}

const STEPS: [name: string, step: Step][] = [
  ['scrub', SCRUB],
  ['blobs', BLOBS],
  ['manifests', MANIFESTS],
  ['references', REFERENCES],
  ['tags', TAGS],
  ['trash', TRASH],
];

/** @param from where the call before ended; `null` at the beginning. A page may be empty before the last one. */
export async function fsck(env: Stores, from: Cursor | null): Promise<{ items: Finding[]; next: Cursor | null }> {
  const check: Check = { env, spent: { ...NOTHING_SPENT }, found: [] };
  let cursor = from ?? beginning(0);
  while (cursor && !isSpent(check) && check.found.length < ENOUGH) {
    const at: number = STEPS.findIndex(([name]) => name === cursor?.phase);
    const after: Key | null | undefined = await STEPS[at]?.[1].look(check, cursor.after);
    cursor = after ? { phase: cursor.phase, after } : beginning(at + 1);
  }
  return { items: check.found, next: cursor };
}

function beginning(at: number): Cursor | null {
  const entry = STEPS[at];
  return entry ? { phase: entry[0], after: entry[1].start } : null;
}

/** Whether it is one that `fsck` has answered. */
export function isFsckCursor({ phase, after }: Cursor): boolean {
  const start = STEPS.find(([name]) => name === phase)?.[1].start;
  return start?.length === after.length && start.every((part, n) => typeof part === typeof after[n]);
}
