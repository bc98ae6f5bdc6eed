/** end-3, end-7 and end-9: manifests by tag or digest. */
import { Hono } from 'hono';
import { parseCondition } from '../../oci/condition.ts';
import { algorithmOf, digestOf } from '../../oci/digest.ts';
import { MANIFEST_MAX_BYTES, parseManifest } from '../../oci/manifest.ts';
import { parseReference, parseReferenceToRead, parseTag, type Reference, type Tag } from '../../oci/reference.ts';
import { deleteManifest } from '../../registry/manifests/deletion.ts';
import { getManifest, statManifest, statManifestForPush } from '../../registry/manifests/manifests.ts';
import { type MovedTags, putManifest } from '../../registry/manifests/put.ts';
import { noteCheck, notePull } from '../../registry/usage/pulls.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { may, mayAlso, mayCreateByPush, rightsTo } from '../authorize.ts';
import { sendContent } from '../content.ts';
import { type AppEnv, actorOf, afterwards, finishing } from '../context.ts';
import { chargeReferences } from '../limits.ts';
import { readBody } from '../params.ts';

/** The specification asks for 10 at least. */
const MAX_TAGS = 100;
/** Headers that name tags: Python's http.client reads no answer that has more than 100 in all. From there on several share one. */
const MAX_TAG_HEADERS = 40;
/** Headers that warn, and bytes of them (distribution-spec, "Warnings": 4096 at most). */
const MAX_WARNINGS = 20;
const MAX_WARNING_BYTES = 4096;
/** Bytes of headers about tags, warnings among them: many proxies take 16 KiB of headers in all. */
const MAX_TAG_BYTES = 14 * 1024;

/** Rows that a tag writes: itself, its history and its event, with their indexes. */
const ROWS_OF_A_TAG = 6;

export const manifests = new Hono<AppEnv>({ strict: false })
  .get('/:name{.+}/manifests/:reference', may('pull'), async (c) => {
    const { repository } = c.var;
    const reference = parseReferenceToRead(c.req.param('reference'));
    const caching = reference.tag ? ('revalidate' as const) : ('immutable' as const);
    if (c.req.method === 'HEAD') {
      const willSkipPush = reference.digest && mayAlso(c, 'push', repository);
      const head = await (willSkipPush
        ? statManifestForPush(c.env, repository, reference.digest)
        : statManifest(c.env, repository, reference));
      afterwards(c).waitUntil(noteCheck(c.env, { repository, digest: head.digest }));
      return sendContent(c, { ...head, caching }, async () => new Uint8Array());
    }
    const manifest = await getManifest(c.env, repository, reference);
    afterwards(c).waitUntil(notePull(c.env, { repository, digest: manifest.digest, random: Math.random() }));
    return sendContent(c, { ...manifest, caching }, async (range) => {
      const bytes = new TextEncoder().encode(manifest.text);
      return range ? bytes.subarray(range.offset, range.offset + range.length) : bytes;
    });
  })

  .put('/:name{.+}/manifests/:reference', may('push'), async (c) => {
    const { repository } = c.var;
    const reference = parseReference(c.req.param('reference'));
    const further = c.req.queries('tag') ?? [];
    const tags = tagsOf(reference, further);
    const condition = parseCondition(c.req.header('if-match'), c.req.header('if-none-match'));
    const bytes = await readBody(c, MANIFEST_MAX_BYTES);
    const digest = await digestOf(reference.digest ? algorithmOf(reference.digest) : 'sha256', bytes);
    if (reference.digest && reference.digest !== digest) {
      throw new Refusal('digest-mismatch', {
        message: 'the manifest does not have the digest in its URL',
        detail: { digest },
      });
    }
    const manifest = parseManifest(bytes, c.req.header('content-type'));
    const put = {
      repository,
      digest,
      manifest,
      size: bytes.byteLength,
      tags,
      condition,
      by: actorOf(c),
      mayCreate: mayCreateByPush(c, repository),
      ...rightsTo(c, repository, tags),
    };
    chargeReferences(c, manifest.references.length + ROWS_OF_A_TAG * tags.length);
    const moved = await finishing(c, putManifest(c.env, put, afterwards(c)));
    c.header('location', `/v2/${repository}/manifests/${digest}`);
    c.header('docker-content-digest', digest);
    if (manifest.subject) c.header('oci-subject', manifest.subject);
    const names = further.length > 0 ? tagHeaders(tags) : [];
    for (const name of names) c.header('oci-tag', name, { append: true });
    for (const warning of warningsOf(moved, bytesOf('oci-tag', names))) c.header('warning', warning, { append: true });
    return c.body(null, 201);
  })

  .delete('/:name{.+}/manifests/:reference', may('delete'), async (c) => {
    const reference = parseReferenceToRead(c.req.param('reference'));
    const condition = parseCondition(c.req.header('if-match'), c.req.header('if-none-match'));
    await finishing(c, deleteManifest(c.env, c.var.repository, reference, condition, actorOf(c)));
    return c.body(null, 202);
  });

/** end-7b: tags beside a digest; a manifest that is put under a tag has that one. @throws manifest-invalid, parameter-invalid */
function tagsOf(reference: Reference, parameters: string[]): Tag[] {
  const texts = reference.tag ? [reference.tag, ...parameters] : parameters;
  if (texts.length > MAX_TAGS) throw new Refusal('too-many-tags', { message: `up to ${MAX_TAGS} tags at a time` });
  return [...new Set(texts.map(parseTag))];
}

/** A list may stand in one header or in several (RFC 9110, 5.3). */
function tagHeaders(tags: Tag[]): string[] {
  const perHeader = Math.ceil(tags.length / MAX_TAG_HEADERS);
  const count = Math.ceil(tags.length / perHeader);
  return Array.from({ length: count }, (_, n) => tags.slice(n * perHeader, (n + 1) * perHeader).join(', '));
}

/** As headers stand in an answer of HTTP/1.1: each with its name, a colon and a line break. */
function bytesOf(name: string, values: string[]): number {
  return values.reduce((sum, value) => sum + name.length + value.length + 4, 0);
}

/** People learn only afterwards that a push has moved a tag: say so, and say what it named before. @param used bytes that other headers take */
function warningsOf(moved: MovedTags, used: number): string[] {
  const warnings = moved.map(({ tag, previous }) => `299 - "tag ${tag} has moved: it named ${previous}"`);
  const longest = Math.max(1, ...warnings.map((warning) => bytesOf('warning', [warning])));
  const room = Math.min(MAX_WARNING_BYTES, MAX_TAG_BYTES - used);
  return warnings.slice(0, Math.min(MAX_WARNINGS, Math.floor(room / longest)));
}
