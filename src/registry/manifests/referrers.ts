/** Lists the manifests whose subject is a given digest (distribution-spec, "Listing Referrers"). */
import type { Env } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import { jsonBytes } from '../../oci/json.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { readText } from '../../storage/objects.ts';

/**
 * The maximum number of bytes of one answer, and of the documents that are read for it. The answer contains annotations of the
 * referrers, which may have megabytes. The client library oras-go reads lists of up to 4 MiB.
 */
const PAGE_MAX_BYTES = 4 * 1024 * 1024;
/** The number of bytes of the answer that are reserved for the JSON around the entries. */
const ENVELOPE_BYTES = 1024;

interface Referrer {
  mediaType: string;
  digest: Digest;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}

interface ReferrersQuery {
  subject: Digest;
  /** The artifact types of the referrers to list. Empty for all. */
  artifactTypes: readonly string[];
  /** The last referrer of the previous page, or `undefined` for the first page. */
  after: { artifactType: string; digest: string } | undefined;
  limit: number;
}

interface Row {
  media_type: string;
  digest: Digest;
  size: number;
  artifact_type: string;
  annotations: string | null;
  object_key: string | null;
  candidates: number;
}

/** Endpoint end-12: lists referrers. An unknown subject or repository has an empty list of referrers, not an error. */
export async function listReferrers(
  env: Pick<Env, 'DB' | 'BLOBS'>,
  repository: RepositoryName,
  { subject, artifactTypes, after, limit }: ReferrersQuery,
): Promise<Page<Referrer>> {
  const [artifactType = null, ...more] = artifactTypes;
  const types = more.length === 0 ? '= :artifactType' : 'IN (SELECT value FROM json_each(:artifactTypes))';
  const type = artifactType === null ? '' : `AND m.artifact_type ${types}`;
  // The first query selects the page without the documents, because sorting documents would move megabytes.
  const { results } = await prepare(
    env,
    `WITH candidates AS (
       SELECT m.repository_id, m.artifact_type, m.digest, m.size
       FROM repositories r JOIN manifests m ON m.repository_id = r.id AND m.subject = :subject
       WHERE r.name = :repository AND (m.artifact_type, m.digest) > (:afterType, :afterDigest) ${type}
       ORDER BY m.artifact_type, m.digest LIMIT :rows),
     measured AS (
       SELECT *, count(*) OVER () AS candidates, sum(size) OVER (ORDER BY artifact_type, digest) - size AS bytes_before
       FROM candidates)
     SELECT m.media_type, m.digest, m.size, m.artifact_type, m.object_key, p.candidates,
       json_extract(m.content, '$.annotations') AS annotations
     FROM measured p JOIN manifests m ON m.repository_id = p.repository_id AND m.digest = p.digest
     WHERE p.bytes_before < ${PAGE_MAX_BYTES} ORDER BY p.artifact_type, p.digest`,
    {
      ...{ repository, subject, artifactType, artifactTypes, rows: limit + 1 },
      ...{ afterType: after?.artifactType ?? '', afterDigest: after?.digest ?? '' },
    },
  ).all<Row>();
  const { items } = pageOf(results, limit);
  const fitting = firstThatFit(await Promise.all(items.map((row) => referrerOf(env, row))));
  return { items: fitting, more: (results[0]?.candidates ?? 0) > fitting.length };
}

/**
 * Returns the first entries that fit into an answer, at least one. If the first entry alone is too long, its longest
 * annotations are left out.
 */
function firstThatFit(referrers: Referrer[]): Referrer[] {
  let room = PAGE_MAX_BYTES - ENVELOPE_BYTES;
  const fitting: Referrer[] = [];
  for (const referrer of referrers) {
    const entry = fitting.length === 0 ? shortened(referrer, room) : referrer;
    room -= jsonBytes(entry) + 1;
    if (room < 0) return fitting;
    fitting.push(entry);
  }
  return fitting;
}

function shortened(referrer: Referrer, room: number): Referrer {
  let excess = jsonBytes(referrer) - room + 1;
  if (excess <= 0) return referrer;
  const bySize = Object.entries(referrer.annotations ?? {}).map((one) => ({ one, bytes: jsonBytes(one) }));
  bySize.sort((a, b) => a.bytes - b.bytes);
  while (excess > 0 && bySize.length > 0) excess -= (bySize.pop()?.bytes ?? 0) - 2;
  return { ...referrer, annotations: Object.fromEntries(bySize.map(({ one }) => one)) };
}

async function referrerOf(env: Pick<Env, 'BLOBS'>, row: Row): Promise<Referrer> {
  const annotations = row.object_key
    ? await annotationsOf(env, row.object_key)
    : row.annotations && JSON.parse(row.annotations);
  return {
    mediaType: row.media_type,
    digest: row.digest,
    size: row.size,
    ...(row.artifact_type ? { artifactType: row.artifact_type } : {}),
    ...(annotations ? { annotations } : {}),
  };
}

async function annotationsOf(env: Pick<Env, 'BLOBS'>, objectKey: string): Promise<Record<string, string> | undefined> {
  const text = await readText(env, objectKey);
  return text === null ? undefined : (JSON.parse(text) as { annotations?: Record<string, string> }).annotations;
}
