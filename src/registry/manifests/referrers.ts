/** Manifests whose subject is a given digest (distribution-spec, "Listing Referrers"). */
import type { Env } from '../../env.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { readText } from '../../storage/objects.ts';

/** Bytes of the documents behind one page: their annotations are part of the answer, and each may have megabytes. */
const PAGE_MAX_BYTES = 4 * 1024 * 1024;

export interface Referrer {
  mediaType: string;
  digest: Digest;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}

export interface ReferrersQuery {
  subject: Digest;
  artifactType: string | undefined;
  /** The last referrer of the page before. */
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

/** end-12. A subject that is not there, or a repository that is not there, has no referrers; that is no error. */
export async function listReferrers(
  env: Pick<Env, 'DB' | 'BLOBS'>,
  repository: RepositoryName,
  { subject, artifactType, after, limit }: ReferrersQuery,
): Promise<Page<Referrer>> {
  const type = artifactType === undefined ? '' : 'AND m.artifact_type = ?6';
  // Which ones fit a page is found without their contents, which would be megabytes to sort.
  const { results } = await env.DB.prepare(
    `WITH candidates AS (
       SELECT m.repository_id, m.artifact_type, m.digest, m.size
       FROM repositories r JOIN manifests m ON m.repository_id = r.id AND m.subject = ?2
       WHERE r.name = ?1 AND (m.artifact_type, m.digest) > (?3, ?4) ${type}
       ORDER BY m.artifact_type, m.digest LIMIT ?5),
     measured AS (
       SELECT *, count(*) OVER () AS candidates, sum(size) OVER (ORDER BY artifact_type, digest) - size AS bytes_before
       FROM candidates)
     SELECT m.media_type, m.digest, m.size, m.artifact_type, m.object_key, p.candidates,
       json_extract(m.content, '$.annotations') AS annotations
     FROM measured p JOIN manifests m ON m.repository_id = p.repository_id AND m.digest = p.digest
     WHERE p.bytes_before < ${PAGE_MAX_BYTES} ORDER BY p.artifact_type, p.digest`,
  )
    .bind(repository, subject, after?.artifactType ?? '', after?.digest ?? '', limit + 1, ...(type ? [artifactType] : []))
    .all<Row>();
  const { items } = pageOf(results, limit);
  const more = (results[0]?.candidates ?? 0) > items.length;
  return { items: await Promise.all(items.map((row) => referrerOf(env, row))), more };
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
