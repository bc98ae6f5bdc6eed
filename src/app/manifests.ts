/**
 * Operations on manifests and tags in the distribution protocol: pull, push, delete and list. `end-3` and so on are the names
 * of endpoints in the OCI Distribution Specification.
 */
import type { Condition } from '../oci/condition.ts';
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts';
import { type Manifest, parseManifest } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import type { Reference, Tag } from '../oci/reference.ts';
import { getManifest, statManifest, statManifestForPull, statManifestForPush } from '../registry/manifests/manifests.ts';
import { deleteManifest as deleteStored } from '../registry/manifests/named-deletion.ts';
import { type MovedTags, putManifest } from '../registry/manifests/put.ts';
import { listReferrers as listStoredReferrers } from '../registry/manifests/referrers.ts';
import { listTags as listStoredTags } from '../registry/tags/tags.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { deniedTags } from './access.ts';
import { finishing } from './call.ts';
import {
  type ContentCall,
  changing,
  mayCreateByPush,
  mayOnContent,
  requireContentRight,
  requireRead,
  withAuthority,
} from './content.ts';
import { countUse } from './pull-counter.ts';

/**
 * end-3, GET. Takes one D1 query, or none after a HEAD request for the same manifest to this isolate. The pull is counted after
 * the response.
 */
export async function pullManifest(call: ContentCall, repository: RepositoryName, reference: Reference, random: number) {
  requireRead(call, repository);
  const manifest = await getManifest(call.env, repository, reference, call.now);
  countUse(call, { repository, digest: manifest.digest, pulls: 1, random });
  return manifest;
}

/** end-3, HEAD. For lifecycle policies this is a use of the manifest, but it does not count as a pull. */
export async function checkManifest(call: ContentCall, repository: RepositoryName, reference: Reference) {
  requireRead(call, repository);
  const head = await headOf(call, repository, reference);
  countUse(call, { repository, digest: head.digest, pulls: 0, random: 0 });
  return head;
}

/**
 * Returns the digest, media type and size of a manifest. If the caller may push and names the manifest by its digest, takes a
 * lease on it, because a client that finds the manifest skips its upload (invariant 8).
 */
function headOf(call: ContentCall, repository: RepositoryName, reference: Reference) {
  if (!mayOnContent(call, 'push', repository)) return statManifestForPull(call.env, repository, reference, call.now);
  if (reference.digest) return statManifestForPush(call.env, repository, reference.digest);
  return statManifest(call.env, repository, reference, call.now);
}

export type { MovedTags };

interface PushedManifest {
  repository: RepositoryName;
  bytes: Uint8Array;
  contentType: string | undefined;
  /** The digest that the client expects. `null` if the client names none; the SHA-256 digest of the bytes is then used. */
  expected: Digest | null;
  tags: Tag[];
  condition: Condition | null;
  /** Called with the parsed manifest before anything is written, so that the HTTP handler can apply its limits. */
  charge?: (manifest: Manifest) => void;
}

/**
 * end-7: stores a manifest and makes the tags name it. @throws digest-mismatch, manifest-invalid, and for the reasons of
 * `putManifest`
 */
export function pushManifest(call: ContentCall, pushed: PushedManifest): ReturnType<typeof pushUnder> {
  return changing(call, (present) => pushUnder(present, pushed));
}

async function pushUnder(
  call: ContentCall,
  { repository, bytes, contentType, expected, tags, condition, charge }: PushedManifest,
): Promise<{ digest: Digest; manifest: Manifest; moved: MovedTags }> {
  const by = requireContentRight(call, 'push', repository, tags[0] ?? null);
  const digest = await digestOf(expected ? algorithmOf(expected) : 'sha256', bytes);
  if (expected && expected !== digest) {
    throw new Refusal('digest-mismatch', { message: 'the manifest does not have the digest in its URL', detail: { digest } });
  }
  const manifest = parseManifest(bytes, contentType);
  const rights = { ...deniedTags(withAuthority(call), repository, tags), mayCreate: mayCreateByPush(call, repository) };
  charge?.(manifest);
  const { assumed } = call;
  const put = { repository, digest, manifest, size: bytes.byteLength, tags, condition, by, assumed, ...rights };
  return { digest, manifest, moved: await finishing(call, putManifest(call.env, put, call.work)) };
}

/** end-9: deletes the manifest or the tag that the reference names. */
export async function deleteManifest(
  call: ContentCall,
  repository: RepositoryName,
  reference: Reference,
  condition: Condition | null,
): Promise<void> {
  const by = requireContentRight(call, 'delete', repository, reference.tag ?? null);
  await finishing(call, deleteStored(call.env, repository, reference, condition, by));
}

/** end-8: lists tags. */
export function listTags(call: ContentCall, repository: RepositoryName, page: PageQuery): Promise<Page<string>> {
  requireRead(call, repository);
  return listStoredTags(call.env, repository, page);
}

/** end-12: lists the manifests whose subject is the given digest. */
export function listReferrers(
  call: ContentCall,
  repository: RepositoryName,
  query: Parameters<typeof listStoredReferrers>[2],
): ReturnType<typeof listStoredReferrers> {
  requireRead(call, repository);
  return listStoredReferrers(call.env, repository, query);
}
