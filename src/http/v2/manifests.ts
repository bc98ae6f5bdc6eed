/** Routes that read, push and delete manifests by tag or digest (end-3, end-7 and end-9). */

import { checkManifest, deleteManifest, type MovedTags, pullManifest, pushManifest } from '../../app/manifests.ts';
import { MANIFEST_MAX_BYTES } from '../../oci/manifest.ts';
import { parseReference, parseReferenceToRead, parseTag, type Reference, type Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { sendContent } from '../content.ts';
import { type AppEnv, contentCallOf, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { chargeReferences } from '../limits.ts';
import { conditionIn, readBody } from '../params.ts';

/** The maximum number of tags in one push. The specification requires at least 10. */
const MAX_TAGS = 100;
/**
 * The maximum number of `OCI-Tag` headers. If there are more tags, several share a header, because Python's http.client refuses
 * answers with more than 100 headers.
 */
const MAX_TAG_HEADERS = 40;
/** The maximum number of Warning headers, and of their bytes together. distribution-spec, "Warnings", allows 4096 bytes. */
const MAX_WARNINGS = 20;
const MAX_WARNING_BYTES = 4096;
/** The maximum number of bytes of `OCI-Tag` and Warning headers together. Many proxies refuse more than 16 KiB of headers. */
const MAX_TAG_BYTES = 14 * 1024;

/** The number of D1 rows that a tag writes: the tag, its history and its event, with their indexes. */
const ROWS_OF_A_TAG = 6;

export const manifests = new Hono<AppEnv>({ strict: false })
  .get('/:name{.+}/manifests/:reference', async (c) => {
    const repository = repositoryIn(c);
    const reference = parseReferenceToRead(c.req.param('reference'));
    const caching = reference.tag ? ('revalidate' as const) : ('immutable' as const);
    if (c.req.method === 'HEAD') {
      const head = await checkManifest(contentCallOf(c), repository, reference);
      return sendContent(c, { ...head, caching }, async () => new Uint8Array());
    }
    const manifest = await pullManifest(contentCallOf(c), repository, reference, Math.random());
    return sendContent(c, { ...manifest, caching }, async (range) => {
      const bytes = new TextEncoder().encode(manifest.text);
      return range ? bytes.subarray(range.offset, range.offset + range.length) : bytes;
    });
  })

  .put('/:name{.+}/manifests/:reference', async (c) => {
    const repository = repositoryIn(c);
    const reference = parseReference(c.req.param('reference'));
    const further = c.req.queries('tag') ?? [];
    const tags = tagsOf(reference, further);
    const condition = conditionIn(c);
    const { digest, manifest, moved } = await pushManifest(contentCallOf(c), {
      repository,
      bytes: await readBody(c, MANIFEST_MAX_BYTES),
      contentType: c.req.header('content-type'),
      expected: reference.digest ?? null,
      tags,
      condition,
      charge: ({ references }) => chargeReferences(c, references.length + ROWS_OF_A_TAG * tags.length),
    });
    c.header('location', `/v2/${repository}/manifests/${digest}`);
    c.header('docker-content-digest', digest);
    if (manifest.subject) c.header('oci-subject', manifest.subject);
    const names = further.length > 0 ? tagHeaders(tags) : [];
    for (const name of names) c.header('oci-tag', name, { append: true });
    for (const warning of warningsOf(moved, bytesOf('oci-tag', names))) c.header('warning', warning, { append: true });
    return c.body(null, 201);
  })

  .delete('/:name{.+}/manifests/:reference', async (c) => {
    const reference = parseReferenceToRead(c.req.param('reference'));
    const condition = conditionIn(c);
    await deleteManifest(contentCallOf(c), repositoryIn(c), reference, condition);
    return c.body(null, 202);
  });

/** Returns the tags in the path and in the query parameters (end-7b), without duplicates. @throws tag-invalid, too-many-tags */
function tagsOf(reference: Reference, parameters: string[]): Tag[] {
  const texts = reference.tag ? [reference.tag, ...parameters] : parameters;
  if (texts.length > MAX_TAGS)
    throw new Refusal('too-many-tags', {
      message: `a manifest is pushed with up to ${MAX_TAGS} tags at a time: nothing was stored`,
    });
  return [...new Set(texts.map(parseTag))];
}

/** Returns the values of the `OCI-Tag` headers. A header may contain a list of tags (RFC 9110, 5.3). */
function tagHeaders(tags: Tag[]): string[] {
  const perHeader = Math.ceil(tags.length / MAX_TAG_HEADERS);
  const count = Math.ceil(tags.length / perHeader);
  return Array.from({ length: count }, (_, n) => tags.slice(n * perHeader, (n + 1) * perHeader).join(', '));
}

/** Returns the number of bytes of headers in HTTP/1.1. Each header has a name, a colon, a space, a value and a line break. */
function bytesOf(name: string, values: string[]): number {
  return values.reduce((sum, value) => sum + name.length + value.length + 4, 0);
}

/**
 * Returns warnings that the push has moved tags. Each contains the digest that the tag named before. @param used the number of
 * bytes of the `OCI-Tag` headers
 */
function warningsOf(moved: MovedTags, used: number): string[] {
  const warnings = moved.map(({ tag, previous }) => `299 - "tag ${tag} has moved: it named ${previous}"`);
  const longest = Math.max(1, ...warnings.map((warning) => bytesOf('warning', [warning])));
  const room = Math.min(MAX_WARNING_BYTES, MAX_TAG_BYTES - used);
  return warnings.slice(0, Math.min(MAX_WARNINGS, Math.floor(room / longest)));
}
