/**
 * Sends the single requests of the upload protocol, and reads D1 and R2 afterwards. A `Request` made in memory has no
 * Content-Length, so a test chooses the kind of body: `sized` with a Content-Length, as most clients send it, or `unsized`
 * without one, as docker sends it.
 */
import { expect } from 'vitest';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import { noise } from './images.ts';
import type { Send, World } from './world.ts';

export const MIB = 1024 * 1024;

/** The two values of `VERIFY`, each with the smallest part size. R2 does not complete multipart uploads with smaller parts. */
export const MODES = [
  { verify: 'storage', part: 64 * 1024 },
  { verify: 'stream', part: 5 * MIB },
] as const;

export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Returns the bytes of a layer, faster than `noise` does. No two blocks are equal, so that a wrong order of blocks is noticed.
 */
export function layer(size: number, seed = 1): Bytes {
  const block = noise(64 * 1024, seed);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += block.byteLength) {
    new DataView(block.buffer).setUint32(0, at);
    bytes.set(block.subarray(0, size - at), at);
  }
  return bytes;
}

/** Returns a body with a Content-Length. */
export function sized(bytes: Bytes, range?: string): Send {
  return { body: bytes, headers: { 'content-length': String(bytes.byteLength), ...withRange(range) } };
}

/** Returns a body of unknown length, which arrives in chunks. */
export function unsized(bytes: Bytes, range?: string): Send {
  return { body: streamOf(bytes, false), headers: withRange(range) };
}

function withRange(range: string | undefined): Record<string, string> {
  return range === undefined ? {} : { 'content-range': range };
}

/** Returns a body of unknown length whose connection breaks after these bytes. */
export function broken(bytes: Bytes): Send {
  return { body: streamOf(bytes, true) };
}

/**
 * Returns a body that announces `length` bytes and whose connection breaks after `bytes`. Used for a chunk that is joined to
 * others. For a chunk that is a single put, use `truncated`, whose length the runtime knows.
 */
export function brokenOff(bytes: Bytes, length: number): Send {
  return { ...broken(bytes), headers: { 'content-length': String(length) } };
}

/** Returns a body that announces `length` bytes and whose connection breaks after `bytes`. It cannot be joined to others. */
export function truncated(bytes: Bytes, length: number): Send {
  const { readable, writable } = new FixedLengthStream(length);
  const write = async () => {
    const writer = writable.getWriter();
    await writer.write(bytes);
    await writer.abort(new Error('the client hung up'));
  };
  write().catch(() => {});
  return { body: readable, headers: { 'content-length': String(length) } };
}

function streamOf(bytes: Bytes, breaks: boolean): ReadableStream {
  const chunk = 32 * 1024;
  let at = 0;
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (at < bytes.byteLength) controller.enqueue(bytes.slice(at, at + chunk));
      else if (breaks) controller.error(new Error('the client hung up'));
      else controller.close();
      at += chunk;
    },
  });
}

/** Starts an upload (end-4a). @returns its location */
export async function begin(world: World, repository = 'acme/api', query = ''): Promise<string> {
  const response = await world.fetch('POST', `/v2/${repository}/blobs/uploads/${query}`);
  expect(response.status).toBe(202);
  return locationOf(response);
}

export function locationOf(response: Response): string {
  return response.headers.get('location') ?? '';
}

/** Sends a chunk (end-5). */
export function patch(world: World, location: string, body: Send): Promise<Response> {
  return world.fetch('PATCH', location, body);
}

/** Finishes an upload (end-6). */
export function finish(world: World, location: string, digest: string, body: Send = {}): Promise<Response> {
  return world.fetch('PUT', `${location}?digest=${digest}`, body);
}

/** Pushes a whole blob in one request (end-4b). */
export function postWhole(world: World, repository: string, digest: string, body: Send): Promise<Response> {
  return world.fetch('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, body);
}

/** Requests the offset of an upload (end-13). @returns the status and the Range header */
export async function standing(world: World, location: string): Promise<string> {
  const response = await world.fetch('GET', location);
  return `${response.status} ${response.headers.get('range')}`;
}

/** Returns the status and the Range header of an answer about an upload. */
export function progressOf(response: Response): string {
  return `${response.status} ${response.headers.get('range')}`;
}

/**
 * Returns the digest of the bytes that a pull receives, or the status if the pull fails. Comparing digests is cheaper than
 * comparing bytes.
 */
export async function pulled(world: World, repository: string, digest: string): Promise<Digest | number> {
  const response = await world.fetch('GET', `/v2/${repository}/blobs/${digest}`);
  if (response.status !== 200) return response.status;
  return digestOf(digest.startsWith('sha512:') ? 'sha512' : 'sha256', new Uint8Array(await response.arrayBuffer()));
}

export async function statusOf(world: World, method: string, path: string): Promise<number> {
  return (await world.fetch(method, path)).status;
}

/** Returns the R2 keys of the objects that begin with a prefix. */
export async function keysOf(world: World, prefix = ''): Promise<string[]> {
  return (await world.env.BLOBS.list({ prefix })).objects.map(({ key }) => key);
}

export async function countOf(world: World, table: 'uploads' | 'blobs' | 'repository_blobs' | 'repositories'): Promise<number> {
  return (await world.env.DB.prepare(`SELECT count(*) AS n FROM ${table}`).first<number>('n')) ?? Number.NaN;
}

/** Returns the R2 keys of objects that no row names. Failed requests leave such objects. */
export async function orphansOf(world: World): Promise<string[]> {
  const { results } = await world.env.DB.prepare(
    `SELECT object_key AS key FROM blobs UNION SELECT object_key FROM manifests WHERE object_key IS NOT NULL
     UNION SELECT object_key FROM tombstones
     UNION SELECT piece.value ->> 'key' FROM uploads, json_each(staged, '$.pieces') AS piece WHERE state = 'open'`,
  ).all<{ key: string }>();
  const known = new Set(results.map((row) => row.key));
  return (await keysOf(world)).filter((key) => !known.has(key));
}

/** Makes every upload expired. */
export async function expireAll(world: World): Promise<void> {
  await world.env.DB.prepare('UPDATE uploads SET expires_at = unixepoch() - 1').run();
}

/** Adds a short form of a value for the title of a test, for `test.each` with long texts. */
export function shortened(value: string): { shown: string; value: string } {
  return { shown: value.length > 40 ? `${value.slice(0, 40)}...` : value, value };
}
