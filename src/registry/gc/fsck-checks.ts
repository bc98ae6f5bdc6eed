/** The checks of `fsck` (`fsck.ts`), one for each table. Each finding says what is wrong and how to repair it. */
import { prepare } from '../../events/sql.ts';
import { algorithmOf, type Digest, digestOf } from '../../oci/digest.ts';
import { jsonBytes } from '../../oci/json.ts';
import { isManifestMediaType, parseManifest } from '../../oci/manifest.ts';
import { readText } from '../../storage/objects.ts';
import { type Budget, getPasses, type Key, read, type Stores } from './passes.ts';
import type { ScrubReport } from './scrub.ts';
import { type Walk, walk } from './walk.ts';

export interface Finding {
  problem: string;
  remedy: string;
  repository?: string;
  digest?: Digest;
  tag?: string;
}

export interface Check {
  env: Stores;
  spent: Budget;
  findings: Finding[];
}

interface Step {
  start: Key;
  /** Runs one step and adds findings to `check`. Returns the key with which the next step begins, or `null` at the end. */
  look(check: Check, after: Key): Promise<Key | null>;
}

/** The maximum number of faulty rows in one step. A second query reads the details of these rows. */
const DESCRIBED_MAX = 20;
/** The number of characters after which a step stops reading manifests. */
const DOCUMENTS_MAX = 1_000_000;
/** The maximum number of bytes of findings about blobs in one step, so that an answer stays below 1 MiB. */
const BLOBS_MAX_BYTES = 256 * 1024;
const REPOSITORIES_NAMED = 50;
/** The maximum number of manifests to visit in the search for manifests and tags that need a missing blob. */
const ANCESTORS_MAX = 2000;
const TAGS_NAMED = 5;

/** Returns a check that walks a table for faulty rows. The query `sql` reads the details of these rows (keys in `:keys`). */
function walking<Row>(
  of: Walk,
  start: Key,
  sql: string,
  findingsOf: (row: Row, env: Stores) => Promise<Finding[]> | Finding[],
): Step {
  return {
    start,
    async look(check, after) {
      const { keys, next } = await walk(check, of, after, DESCRIBED_MAX);
      const rows = keys.length === 0 ? [] : await read<Row>(check, prepare(check.env, sql, { keys }));
      for (const row of rows) check.findings.push(...(await findingsOf(row, check.env)));
      return next;
    },
  };
}

const SCRUB: Step = {
  start: [],
  async look({ env, findings }) {
    const { finished, running } = await getPasses<ScrubReport>(env, 'scrub');
    const remedy = 'Look below: what is still wrong is named there, the rest has been repaired since';
    for (const problem of new Set([...(finished?.problems ?? []), ...(running?.problems ?? [])])) {
      findings.push({ problem: `the scrub found: ${problem}`, remedy });
    }
    return null;
  },
};

interface MissingBlob {
  digest: Digest;
  /** A repository that contains the blob, or `null` if no repository contains it. */
  repository: string | null;
  /** The number of manifests that need the blob. */
  needed: number;
  tags: string;
}

const MISSING_BLOBS: Walk = { table: 'blobs', key: ['digest'], condition: 'x.missing_since IS NOT NULL' };

/** The check that reports blobs whose bytes are missing or damaged. A step reports as many as fit into one answer. */
const BLOBS: Step = {
  start: [''],
  async look(check, after) {
    const { keys, next } = await walk(check, MISSING_BLOBS, after, DESCRIBED_MAX);
    if (keys.length === 0) return next;
    const digests = keys.flat() as Digest[];
    const findings = Map.groupBy(await findingsOfBlobs(check, digests), ({ digest }) => digest);
    let bytes = 0;
    for (const [n, digest] of digests.entries()) {
      const ofBlob = firstOf(findings.get(digest) ?? [], digest);
      bytes += jsonBytes(ofBlob);
      const before = digests[n - 1];
      if (before !== undefined && bytes > BLOBS_MAX_BYTES) return [before];
      check.findings.push(...ofBlob);
    }
    return next;
  },
};

/** Returns the first findings of one blob, and a finding with the number of the others. There may be thousands. */
function firstOf(findings: Finding[], digest: Digest): Finding[] {
  if (findings.length <= REPOSITORIES_NAMED) return findings;
  const more = findings.length - REPOSITORIES_NAMED;
  const problem = `the bytes of blob ${digest} are gone or damaged in ${more} or more other repositories`;
  const remedy = 'Push the blob to any of them: that repairs all of them';
  return [...findings.slice(0, REPOSITORIES_NAMED), { digest, problem, remedy }];
}

/** Returns a finding for each repository with a missing blob. It names the manifests and tags that need the blob. */
async function findingsOfBlobs(check: Check, digests: Digest[]): Promise<Finding[]> {
  const rows = await read<MissingBlob>(
    check,
    prepare(
      check.env,
      `WITH RECURSIVE missing(digest) AS (SELECT value FROM json_each(:digests)),
         up(blob, repository_id, digest) AS (
           SELECT l.digest, l.repository_id, l.digest FROM missing CROSS JOIN repository_blobs l ON l.digest = missing.digest
           UNION SELECT up.blob, up.repository_id, x.parent FROM up
             JOIN manifest_references x ON x.repository_id = up.repository_id AND x.child = up.digest
           LIMIT ${ANCESTORS_MAX}),
         needing AS MATERIALIZED (
           SELECT up.blob, r.name AS repository, count(DISTINCT up.digest) - 1 AS needed,
             json_group_array(DISTINCT t.name) FILTER (WHERE t.name IS NOT NULL) AS tags
           FROM up CROSS JOIN repositories r ON r.id = up.repository_id
             LEFT JOIN tags t INDEXED BY tags_by_digest ON t.repository_id = up.repository_id AND t.digest = up.digest
           GROUP BY up.blob, r.name)
       SELECT blob AS digest, repository, needed, tags FROM needing
       UNION ALL SELECT digest, NULL, 0, '[]' FROM missing WHERE digest NOT IN (SELECT blob FROM needing)`,
      { digests },
    ),
  );
  return rows.map(findingOfBlob);
}

function findingOfBlob({ digest, repository, needed, tags }: MissingBlob): Finding {
  if (repository === null) {
    const problem = `the bytes of blob ${digest} are gone or damaged, and no repository has it`;
    return { digest, problem, remedy: 'Nothing: the collector deletes it unless something in the trash needs it' };
  }
  const gone = `the bytes of blob ${digest} in ${repository} are gone or damaged`;
  const idle = { problem: `${gone}; no image needs it`, remedy: 'Nothing: the collector deletes it' };
  if (needed === 0) return { digest, repository, ...idle };
  const all = JSON.parse(tags) as string[];
  const named = all.slice(0, TAGS_NAMED).map((tag) => `${repository}:${tag}`);
  const images = named.length > 0 ? `: ${named.join(', ')}${all.length > named.length ? ' …' : ''}` : ', none of them tagged';
  const problem = `${gone}; ${needed} ${needed === 1 ? 'manifest needs' : 'manifests need'} it${images}`;
  const remedy = 'Push one of these images again: the blob counts as absent, so every client uploads it';
  return { digest, repository, ...(all[0] === undefined ? {} : { tag: all[0] }), problem, remedy };
}

interface DocumentRow {
  repository_id: number;
  digest: Digest;
  object_key: string | null;
  content: string | null;
  repository: string | null;
  trashed: number;
}

/** The check that reads and hashes the manifests whose document is stored in D1. The scrub job checks only R2 objects. */
const MANIFESTS: Step = {
  start: [0, ''],
  async look(check, [repositoryId = 0, digest = '']) {
    const rows = await read<DocumentRow>(
      check,
      prepare(
        check.env,
        `SELECT m.repository_id, m.digest, m.object_key, m.content, r.name AS repository,
           EXISTS (SELECT 1 FROM trash WHERE (repository_id, kind, name) = (m.repository_id, 'repository', '')) AS trashed
         FROM (SELECT *, total(length(content)) OVER (ORDER BY repository_id, digest) - coalesce(length(content), 0) AS before
             FROM (SELECT * FROM manifests WHERE (repository_id, digest) > (:repository_id, :digest)
               ORDER BY repository_id, digest LIMIT 200)) m
           LEFT JOIN repositories r ON r.id = m.repository_id
         WHERE before < ${DOCUMENTS_MAX} ORDER BY m.repository_id, m.digest`,
        { repository_id: repositoryId, digest },
      ),
    );
    for (const row of rows) check.findings.push(...(await findingsOfManifest(row)));
    const last = rows.at(-1);
    return last ? [last.repository_id, last.digest] : null;
  },
};

async function findingsOfManifest({ repository_id, digest, object_key, content, ...row }: DocumentRow): Promise<Finding[]> {
  const place = { digest, ...(row.repository === null ? {} : { repository: row.repository }) };
  const where = row.repository ?? `the repository with the id ${repository_id}`;
  const findings: Finding[] = [];
  if (row.repository === null && row.trashed === 0) {
    const problem = `manifest ${digest} belongs to ${where}, which is neither there nor in the trash`;
    findings.push({ ...place, problem, remedy: 'Nobody can reach it. It takes room until its rows are deleted by hand' });
  }
  if (object_key === '') {
    const problem = `the document of manifest ${digest} in ${where} is gone`;
    findings.push({ ...place, problem, remedy: 'Push it again: the same bytes have the same digest' });
  }
  if (content !== null && (await digestOf(algorithmOf(digest), new TextEncoder().encode(content))) !== digest) {
    const problem = `the document of manifest ${digest} in ${where} does not match its digest`;
    findings.push({ ...place, problem, remedy: 'Delete it by its digest, purge it from the trash, and push it again' });
  }
  return findings;
}

interface ReferenceRow {
  child: Digest;
  parent: Digest;
  repository: string | null;
  media_type: string | null;
  content: string | null;
  object_key: string | null;
}

/** The check that reports references whose parent or child does not exist. Foreign layers may be absent. */
const REFERENCES = walking<ReferenceRow>(
  {
    table: 'manifest_references',
    key: ['repository_id', 'child', 'parent'],
    condition: `NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)
      OR NOT EXISTS (SELECT 1 FROM repository_blobs JOIN blobs USING (digest)
        WHERE (digest, repository_id) = (x.child, x.repository_id))
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.child)`,
  },
  [0, '', ''],
  `SELECT k.value ->> 1 AS child, k.value ->> 2 AS parent, r.name AS repository, m.media_type, m.content, m.object_key
   FROM json_each(:keys) k LEFT JOIN repositories r ON r.id = k.value ->> 0
     LEFT JOIN manifests m ON m.repository_id = k.value ->> 0 AND m.digest = k.value ->> 2`,
  async (row, env) => {
    const { child, parent, repository, media_type } = row;
    const where = repository ?? 'a deleted repository';
    const place = { digest: child, ...(repository ? { repository } : {}) };
    if (media_type === null) {
      const problem = `${where} has a reference from manifest ${parent} to ${child}, but that manifest is gone`;
      return [{ ...place, problem, remedy: `Push ${parent} again and delete it: its references are deleted with it` }];
    }
    if (!(await isRequired(env, row))) return [];
    const problem = `manifest ${parent} of ${where} needs ${child}, which is gone`;
    return [{ ...place, problem, remedy: 'Push the image again, or delete the manifest' }];
  },
);

/** Returns true if the parent's document requires the child, or if the document cannot be read. */
async function isRequired(env: Stores, { child, media_type, content, object_key }: ReferenceRow): Promise<boolean> {
  const text = content ?? (object_key ? await readText(env, object_key) : null);
  if (text === null || !media_type || !isManifestMediaType(media_type)) return true;
  try {
    const { references } = parseManifest(new TextEncoder().encode(text), media_type);
    return references.find(({ digest }) => digest === child)?.required ?? true;
  } catch {
    return true;
  }
}

const NO_MANIFEST = 'NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.digest)';

const TAGS = walking<{ repository: string | null; tag: string; digest: Digest }>(
  { table: 'tags', key: ['repository_id', 'name'], condition: NO_MANIFEST },
  [0, ''],
  `SELECT r.name AS repository, t.name AS tag, t.digest FROM json_each(:keys) k
   CROSS JOIN tags t ON t.repository_id = k.value ->> 0 AND t.name = k.value ->> 1
   LEFT JOIN repositories r ON r.id = t.repository_id`,
  ({ repository, tag, digest }) => {
    const problem = `tag ${tag} of ${repository ?? 'a deleted repository'} names ${digest}, which is gone`;
    const remedy = 'Push the tag again, delete it, or roll it back to the manifest that it named before';
    return [{ problem, remedy, tag, digest, ...(repository ? { repository } : {}) }];
  },
);

const TRASHED = `SELECT 1 FROM trashed_manifests m
  WHERE m.repository_id = x.repository_id AND m.object_key IS NOT '' AND m.digest`;
/** The check that reports trash entries that cannot be restored, for example tags whose manifest does not exist. */
const TRASH = walking<{ repository: string | null; kind: 'tag' | 'manifest'; name: string; digest: Digest | null }>(
  {
    table: 'trash',
    key: ['repository_id', 'kind', 'name'],
    condition: `x.purging = 0 AND CASE x.kind WHEN 'manifest' THEN NOT EXISTS (${TRASHED} = x.name)
      WHEN 'tag' THEN NOT EXISTS (${TRASHED} = x.digest)
        AND ${NO_MANIFEST} ELSE 0 END`,
  },
  [0, '', ''],
  `SELECT t.repository, t.kind, t.name, iif(t.kind = 'manifest', t.name, t.digest) AS digest FROM json_each(:keys) k
   CROSS JOIN trash t ON t.repository_id = k.value ->> 0 AND t.kind = k.value ->> 1 AND t.name = k.value ->> 2`,
  ({ repository, kind, name, digest }) => {
    const problem = `${kind} ${name} of ${repository} is in the trash, but what it needs to be restored is gone`;
    const remedy = 'It can only be pushed again. Purge it, or wait until its retention is over';
    const place = { ...(kind === 'tag' ? { tag: name } : {}), ...(digest ? { digest } : {}) };
    return [{ problem, remedy, repository: repository ?? '', ...place }];
  },
);

export const STEPS: [phase: string, step: Step][] = [
  ['scrub', SCRUB],
  ['blobs', BLOBS],
  ['manifests', MANIFESTS],
  ['references', REFERENCES],
  ['tags', TAGS],
  ['trash', TRASH],
];
