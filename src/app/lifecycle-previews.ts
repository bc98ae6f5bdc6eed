/**
 * Lifecycle policies for clients of the ECR API, which send a policy as a text, start a preview with one request, and read it
 * with others. Their lists have a row for each image, where those of `lifecycle.ts` have one for each tag.
 */
import { lifecyclePolicy } from '../contract/lifecycle.ts';
import { parse } from '../contract/valid.ts';
import type { Digest } from '../oci/digest.ts';
import { parseStrictJson } from '../oci/json.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { LifecyclePolicy } from '../registry/lifecycle/policy.ts';
import { pushTimes, readPreview, type StartedPreview, startPreview } from '../registry/lifecycle/previews.ts';
import { getLifecycle } from '../registry/lifecycle/saved.ts';
import { invalidInput } from '../vocabulary/refusal.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';
import { type Lifecycle, type LifecycleItem, planPreview, putLifecycle } from './lifecycle.ts';

/** Saves a policy that is sent as a text, and keeps the text. @throws request-invalid, repository-unknown */
export async function putLifecycleText(call: Call, repository: RepositoryName, text: string): Promise<Lifecycle> {
  requireRight(call, 'admin', repository);
  return putLifecycle(call, repository, policyIn(text), null, text);
}

/** @throws request-invalid */
function policyIn(text: string): LifecyclePolicy {
  let value: unknown;
  try {
    ({ value } = parseStrictJson(new TextEncoder().encode(text)));
  } catch (error) {
    throw invalidInput({ at: '', message: `it is not valid JSON: ${(error as Error).message}` });
  }
  return parse(lifecyclePolicy, value);
}

/**
 * Starts a preview of a policy.
 * @param text the policy to try; `undefined` means the saved policy
 * @returns the text of the policy
 * @throws request-invalid, repository-unknown; not-found if no policy is saved
 */
export async function startLifecyclePreview(call: Call, repository: RepositoryName, text: string | undefined): Promise<string> {
  requireRight(call, 'admin', repository);
  const tried = text === undefined ? await savedPolicy(call, repository) : { policy: policyIn(text), text };
  await startPreview(call.env, repository, tried);
  return tried.text;
}

async function savedPolicy({ env }: Call, repository: RepositoryName): Promise<StartedPreview> {
  const { policy, text } = await getLifecycle(env, repository);
  return { policy, text: text ?? JSON.stringify(policy) };
}

/** An image that a policy would delete, or of which it would delete tags. */
export interface PreviewedImage {
  digest: Digest;
  /** The tags that would be deleted. */
  tags: string[];
  /** The time of the push: the number of seconds since 1970-01-01 UTC. */
  pushedAt: number;
  /** The priority of the rule that selects the image, or the first of its tags. */
  priority: number;
}

export interface PreviewedImages {
  /** The text of the policy. */
  text: string;
  images: PreviewedImage[];
  /** The number of images on all pages; in a large repository, that of the present page of the plan. */
  total: number;
  next: PreviewPlace | null;
}

/** The place behind a page: the page of the plan, and the last digest that was listed of it. */
export interface PreviewPlace {
  page?: string | undefined;
  digest: string;
}

/**
 * Lists the images that the started preview would delete, by digest.
 * @returns `null` if no preview was started in the last 24 hours
 * @throws repository-unknown, limit-reached
 */
export async function listPreviewedImages(
  call: Call,
  repository: RepositoryName,
  { place, limit }: { place: PreviewPlace | null; limit: number },
): Promise<PreviewedImages | null> {
  requireRight(call, 'admin', repository);
  const started = await readPreview(call.env, repository);
  if (!started) return null;
  const { plan, next } = await planPreview(call, repository, { policy: started.policy, after: place?.page });
  const all = imagesIn([...plan.tags, ...plan.attached], plan.manifests);
  const rest = all.filter(({ digest }) => digest > (place?.digest ?? ''));
  const page = rest.slice(0, limit);
  const times = await pushTimes(
    call.env,
    repository,
    page.map(({ digest }) => digest),
  );
  const last = page.at(-1);
  const isMore = rest.length > limit && last !== undefined;
  return {
    text: started.text,
    images: page.map((one) => ({ ...one, pushedAt: times.get(one.digest) ?? 0 })),
    total: all.length,
    next: isMore ? { page: place?.page, digest: last.digest } : next === null ? null : { page: next, digest: '' },
  };
}

/** Groups tags and manifests by image. The result is sorted by digest. */
function imagesIn(
  tags: readonly (LifecycleItem & { tag: string })[],
  manifests: readonly LifecycleItem[],
): Omit<PreviewedImage, 'pushedAt'>[] {
  const images = new Map<Digest, Omit<PreviewedImage, 'pushedAt'>>();
  for (const { digest, rule } of [...manifests, ...tags])
    if (!images.has(digest)) images.set(digest, { digest, tags: [], priority: rule.priority });
  for (const { digest, tag } of tags) images.get(digest)?.tags.push(tag);
  return [...images.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1));
}
