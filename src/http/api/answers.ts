/** Answers of the management API. No cache keeps them: they are about people and rights, and may hold secrets. */
import type { Grants } from '../../app/organizations.ts';
import type { Page } from '../../oci/page.ts';

export function answer(body: object, { status = 200, version }: { status?: number; version?: number } = {}): Response {
  const headers = { 'cache-control': 'no-store', ...(version === undefined ? {} : { etag: etagOf(version) }) };
  return Response.json(body, { status, headers });
}

export function answerNothing(): Response {
  return new Response(null, { status: 204 });
}

/** RFC 9110, section 8.8.3. */
function etagOf(version: number): string {
  return `"${version}"`;
}

/** Bytes of JSON in one answer. A page of ordinary items is far smaller. */
const ANSWER_MAX_BYTES = 1024 * 1024;
/** Bytes reserved for what surrounds the items: the cursor has up to 512 characters. */
const AROUND_BYTES = 4096;

/**
 * A page of a list, cut at 1 MiB of JSON. It has at least one item: each is bounded where it is stored.
 * @param keyOf the cursor behind an item, used where the page is cut
 * @param next the cursor behind the whole page; `null` at the end of the list
 */
export function answerItems<S>(items: readonly S[], next: string | null, keyOf: (item: S) => string): Response {
  const texts = textsWithin(items, AROUND_BYTES);
  const last = items[texts.length - 1];
  const end = texts.length < items.length && last !== undefined ? keyOf(last) : next;
  const headers = { 'cache-control': 'no-store', 'content-type': 'application/json' };
  return new Response(`{"items":[${texts.join(',')}],"next":${JSON.stringify(end)}}`, { headers });
}

/** Bytes left for the rest of an answer that has a list and more. */
const BESIDE_BYTES = 256 * 1024;

/** The first items, as many as fit into an answer of 1 MiB with other fields. */
export function withinAnswer<S>(items: readonly S[]): S[] {
  return items.slice(0, textsWithin(items, BESIDE_BYTES).length);
}

/** The JSON of the first items, as many as fit into 1 MiB, but at least one. @param around bytes of the rest of the answer */
function textsWithin(items: readonly unknown[], around: number): string[] {
  const encoder = new TextEncoder();
  const texts: string[] = [];
  let bytes = around;
  for (const item of items) {
    const text = JSON.stringify(item);
    bytes += encoder.encode(text).byteLength + 1;
    if (bytes > ANSWER_MAX_BYTES && texts.length > 0) break;
    texts.push(text);
  }
  return texts;
}

/**
 * @param keyOf the cursor behind an item
 * @param brokeOff an encrypted cursor, if the page ended behind its last item; otherwise `null`
 */
export function answerPage<T, S>(
  { items, more }: Page<T>,
  shown: (item: T) => S,
  keyOf: (shown: S) => string,
  brokeOff: string | null = null,
): Response {
  const all = items.map(shown);
  const last = all.at(-1);
  return answerItems(all, brokeOff ?? (more && last !== undefined ? keyOf(last) : null), keyOf);
}

/** Answers that a member was removed. @param removed repositories whose policies no longer name the member */
export function answerRemoved(removed: Grants): Response {
  return removed.count === 0 ? answerNothing() : answer({ removedGrants: removed });
}

export function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

/** `dev` of `team:acme/dev`. */
export function lastPart(subject: string): string {
  return subject.slice(subject.indexOf('/') + 1);
}
