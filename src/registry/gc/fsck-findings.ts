/** What `fsck` says of content that is not there: who needs it, down to the tags, and how it comes back. */
import type { Digest } from '../../oci/digest.ts';
import { isManifestMediaType, parseManifest } from '../../oci/manifest.ts';
import { readText } from '../../storage/objects.ts';
import type { Key } from './passes.ts';
import { read, type Spent, type Stores } from './slice.ts';

export interface Finding {
  problem: string;
  remedy: string;
  repository?: string;
  digest?: string;
  tag?: string;
}

interface Check {
  env: Stores;
  spent: Spent;
}

/** Manifests that are gone through upwards from what is missing. */
const NEEDED_MAX = 2000;
/** Tags that a sentence names. */
const TAGS_NAMED = 5;

/** Blobs whose bytes are gone: one finding for each repository that has them. */
export async function missingBlobs(check: Check, digests: Digest[]): Promise<Finding[]> {
  const rows = await read<{ blob: Digest; repository: string; needed: number; tags: string }>(
    check,
    check.env.DB.prepare(
      `WITH RECURSIVE up(blob, repository_id, digest) AS (
         SELECT l.digest, l.repository_id, l.digest FROM json_each(?1) k CROSS JOIN repository_blobs l ON l.digest = k.value
         UNION SELECT up.blob, up.repository_id, x.parent FROM up
           JOIN manifest_references x ON x.repository_id = up.repository_id AND x.child = up.digest
         LIMIT ${NEEDED_MAX})
       SELECT up.blob, r.name AS repository, count(DISTINCT up.digest) - 1 AS needed,
         json_group_array(DISTINCT t.name) FILTER (WHERE t.name IS NOT NULL) AS tags
       FROM up CROSS JOIN repositories r ON r.id = up.repository_id
         LEFT JOIN tags t INDEXED BY tags_by_digest ON t.repository_id = up.repository_id AND t.digest = up.digest
       GROUP BY up.blob, r.name`,
    ).bind(JSON.stringify(digests)),
  );
  const alone = digests.filter((digest) => !rows.some(({ blob }) => blob === digest));
  return [
    ...rows.map(({ blob, repository, needed, tags }) => missingIn(blob, repository, needed, JSON.parse(tags) as string[])),
    ...alone.map((digest) => ({
      digest,
      problem: `the bytes of blob ${digest} are gone or damaged, and no repository has it`,
      remedy: 'Nothing: the collector takes it away, unless something in the trash needs it',
    })),
  ];
}

function missingIn(digest: Digest, repository: string, needed: number, tags: string[]): Finding {
  const gone = `the bytes of blob ${digest} in ${repository} are gone or damaged`;
  if (needed === 0)
    return { digest, repository, problem: `${gone}; no image needs it`, remedy: 'Nothing: it is taken away in time' };
  const named = tags.slice(0, TAGS_NAMED).map((tag) => `${repository}:${tag}`);
  const images = named.length > 0 ? `: ${named.join(', ')}${tags.length > named.length ? ' …' : ''}` : ', none of them tagged';
  return {
    digest,
    repository,
    ...(tags[0] === undefined ? {} : { tag: tags[0] }),
    problem: `${gone}; ${needed} ${needed === 1 ? 'manifest needs' : 'manifests need'} it${images}`,
    remedy: 'Push one of these images again: what is gone counts as absent, so that every client brings it',
  };
}

interface ReferenceRow {
  child: Digest;
  parent: Digest;
  repository: string | null;
  media_type: string | null;
  content: string | null;
  object_key: string | null;
}

/** References whose parent is gone, or whose child is; foreign layers may be absent. @param keys repository, child, parent */
export async function missingChildren(check: Check, keys: Key[]): Promise<Finding[]> {
  const rows = await read<ReferenceRow>(
    check,
    check.env.DB.prepare(
      `SELECT k.value ->> 1 AS child, k.value ->> 2 AS parent, r.name AS repository, m.media_type, m.content, m.object_key
       FROM json_each(?1) k LEFT JOIN repositories r ON r.id = k.value ->> 0
         LEFT JOIN manifests m ON m.repository_id = k.value ->> 0 AND m.digest = k.value ->> 2`,
    ).bind(JSON.stringify(keys)),
  );
  const found: Finding[] = [];
  for (const row of rows) {
    const { child, parent, repository } = row;
    const where = repository ?? 'a deleted repository';
    const of = { digest: child, ...(repository ? { repository } : {}) };
    if (row.media_type === null) {
      const problem = `${where} counts a reference of manifest ${parent} to ${child}, and that manifest is not there`;
      found.push({ ...of, problem, remedy: `Push ${parent} again and delete it: its references go with it` });
    } else if (await isRequired(check.env, row)) {
      const problem = `manifest ${parent} of ${where} needs ${child}, which is not there`;
      found.push({ ...of, problem, remedy: 'Push the image again, or delete the manifest' });
    }
  }
  return found;
}

/** What the document says; of one that cannot be read, the worse. */
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
