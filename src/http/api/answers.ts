/**
 * Builds the answers of the management API. Caches must not store them, because they describe people and rights or contain
 * secrets.
 */
import type { Grants } from '../../app/organizations.ts';
import type { Page } from '../../oci/page.ts';

export function answer(body: object, { status = 200, version }: { status?: number; version?: number } = {}): Response {
  const headers = { 'cache-control': 'no-store', ...(version === undefined ? {} : { etag: etagOf(version) }) };
  return Response.json(body, { status, headers });
}

export function answerNothing(): Response {
  return new Response(null, { status: 204 });
}

/** Returns the ETag of a version (RFC 9110, section 8.8.3). */
function etagOf(version: number): string {
  return `"${version}"`;
}

/** The maximum number of bytes of JSON in one answer. A page of ordinary items is far smaller. */
const ANSWER_MAX_BYTES = 1024 * 1024;
/** The number of bytes reserved for the JSON around the items. The cursor has up to 512 characters. */
const AROUND_BYTES = 4096;

/**
 * Answers with a page of a list. The page is cut at 1 MiB of JSON, but the first item is always sent; the size of one item is
 * limited when it is stored.
 * @param next the cursor after the whole page, or `null` at the end of the list
 * @param keyOf returns the cursor after an item. Used if the page is cut
 * @param beside further fields of the answer
 */
export function answerItems<S>(
  items: readonly S[],
  next: string | null,
  keyOf: (item: S) => string,
  beside: object = {},
): Response {
  const texts = textsWithin(items, AROUND_BYTES);
  const last = items[texts.length - 1];
  const end = texts.length < items.length && last !== undefined ? keyOf(last) : next;
  const headers = { 'cache-control': 'no-store', 'content-type': 'application/json' };
  const rest = JSON.stringify({ next: end, ...beside }).slice(1);
  return new Response(`{"items":[${texts.join(',')}],${rest}`, { headers });
}

/** The number of bytes reserved for the other fields of an answer that contains a list. */
const BESIDE_BYTES = 256 * 1024;

/** Returns the first items, as many as fit into an answer of 1 MiB together with the other fields. */
export function withinAnswer<S>(items: readonly S[]): S[] {
  return items.slice(0, textsWithin(items, BESIDE_BYTES).length);
}

/**
 * Returns the JSON of the first items, as many as fit into 1 MiB, but at least one. @param around the number of bytes of the
 * rest of the answer
 */
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
 * Answers with a page of a list.
 * @param shown converts an item to the JSON of the answer
 * @param keyOf returns the cursor after an item
 */
export function answerPage<T, S>({ items, more }: Page<T>, shown: (item: T) => S, keyOf: (shown: S) => string): Response {
  const all = items.map(shown);
  const last = all.at(-1);
  return answerItems(all, more && last !== undefined ? keyOf(last) : null, keyOf);
}

/** Answers that a member was removed. @param removed the repositories whose policies no longer name the member */
export function answerRemoved(removed: Grants): Response {
  return removed.count === 0 ? answerNothing() : answer({ removedGrants: removed });
}

export function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

/** Returns the date of a day as `YYYY-MM-DD`. @param day in days since the epoch */
export function dateOf(day: number): string {
  return timeOf(day * 24 * 60 * 60).slice(0, 'YYYY-MM-DD'.length);
}

export function shownActor({ subject, key }: { subject: string; key?: string }): { subject: string; key: string | null } {
  return { subject, key: key ?? null };
}

/** Returns the part of a subject after the slash, for example `dev` for `team:acme/dev`. */
export function lastPart(subject: string): string {
  return subject.slice(subject.indexOf('/') + 1);
}
