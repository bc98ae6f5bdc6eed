/** Why a put of a manifest was refused, asked afterwards: the batch itself only says that one of its preconditions did not hold. */
import type { Database } from '../../events/batch.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { HERE } from '../repositories/repositories.ts';
import { CONTESTED, failingCondition, MAKING, type ManifestPut, MOVING } from '../tags/guards.ts';
import { immutable, judgementOf, RULE } from '../tags/mutability.ts';
import { manifestOverLimit } from '../usage/limit.ts';

/** References of ?2 that are not linked in the repository, or are not what the descriptor says. Blobs as manifests. */
export const UNMET = `SELECT value ->> 'digest' AS digest,
    coalesce(b.size, m.size) IS NOT NULL AS present,
    coalesce(b.size, m.size) <> value ->> 'size' OR m.media_type <> value ->> 'mediaType' AS differs
  FROM json_each(?2)
  LEFT JOIN repository_blobs l ON value ->> 'kind' = 'blob' AND l.digest = value ->> 'digest' AND l.repository_id = ${HERE}
  LEFT JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
  LEFT JOIN manifests m ON value ->> 'kind' = 'manifest' AND m.digest = value ->> 'digest' AND m.repository_id = ${HERE}
  WHERE (b.digest IS NULL AND m.digest IS NULL AND value ->> 'required')
     OR coalesce(b.size, m.size) <> value ->> 'size' OR m.media_type <> value ->> 'mediaType'`;

export const OTHER_TYPE = `SELECT media_type FROM manifests WHERE repository_id = ${HERE} AND digest = ?2 AND media_type <> ?3`;

/** The list as one parameter; a media type only where it is compared, so that the longest list keeps within D1's 2 MB. */
export function listed({ references }: Manifest): string {
  return JSON.stringify(references.map((one) => (one.kind === 'blob' ? { ...one, mediaType: undefined } : one)));
}

/** Which precondition it was. `null`: all of them hold by now, as another request came between. */
export async function refusalOf(env: Database, put: ManifestPut): Promise<Refusal | null> {
  const { repository, digest, manifest } = put;
  const [unmet, otherType, taken, absentTags, contested, rules] = await env.DB.batch([
    env.DB.prepare(UNMET).bind(repository, listed(manifest)),
    env.DB.prepare(OTHER_TYPE).bind(repository, digest, manifest.mediaType),
    env.DB.prepare(MOVING).bind(repository, JSON.stringify(put.notToMove), digest),
    env.DB.prepare(MAKING).bind(repository, JSON.stringify(put.notToMake)),
    env.DB.prepare(CONTESTED).bind(repository, JSON.stringify(put.tags), digest),
    env.DB.prepare(`SELECT ${RULE} AS rule, ${HERE} IS NOT NULL AS present`).bind(repository),
  ]);
  const { rule, present } = (rules?.results[0] ?? {}) as { rule: string; present: number };
  if (!put.mayCreate && !present)
    return new Refusal('repository-unknown', {
      message: 'this repository does not exist, and the right to create it is missing',
    });
  const references = (unmet?.results ?? []) as { digest: string; present: number; differs: number | null }[];
  const fixed = immutableOf((contested?.results ?? []) as { name: string; digest: string }[], rule);
  const failing = await failingCondition(env, put);
  return (
    refusedContent(references, (otherType?.results.length ?? 0) > 0) ??
    (taken?.results.length ? denied('this tag exists, and the right to move it (retag) is missing', taken.results) : null) ??
    (absentTags?.results.length
      ? denied('this tag does not exist, and the right to make it (push) is missing', absentTags.results)
      : null) ??
    (failing ? unmetCondition(failing) : null) ??
    (fixed.length > 0 ? immutable(fixed) : null) ??
    (await manifestOverLimit(env, put))
  );
}

function immutableOf(contested: { name: string; digest: string }[], rule: string): { name: string; digest: string }[] {
  const free = judgementOf(rule).free(contested.map(({ name }) => name));
  return contested.filter(({ name }) => !free.includes(name));
}

function refusedContent(references: { digest: string; present: number }[], hasOtherType: boolean): Refusal | null {
  const absent = references.filter((row) => !row.present).map((row) => ({ digest: row.digest }));
  if (absent.length > 0) return new Refusal('references-unknown', { detail: absent });
  if (references.length > 0) {
    const message = 'a descriptor states another size or media type than its content has';
    return new Refusal('manifest-invalid', { message, detail: references.map((row) => ({ digest: row.digest })) });
  }
  if (!hasOtherType) return null;
  return new Refusal('manifest-invalid', { message: 'this content was pushed before with another media type' });
}

function denied(message: string, detail: unknown): Refusal {
  return new Refusal('forbidden', { message, detail });
}

/** 412 (RFC 9110, 15.5.13); of the specification's codes it is the nearest. */
export function unmetCondition({ name, now }: { name: string; now: string }): Refusal {
  const what = name === '' ? 'this manifest' : `the tag ${name}`;
  const message = now === '' ? `${what} is not there` : name === '' ? `${what} is there` : `${what} names ${now}`;
  return new Refusal('condition-failed', {
    message: `the condition of this request does not hold: ${message}`,
    detail: name === '' ? undefined : { tag: name, digest: now || null },
  });
}
