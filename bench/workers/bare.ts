/**
 * A Worker that moves the same bytes and reads the same rows as the registry, and does nothing else. It shows the maximum speed
 * on the platform. It does not authenticate, checks no rules, and computes only those digests that R2 computes itself.
 */
import { SignJWT } from 'jose';

interface Bindings {
  DB: D1Database;
  BLOBS: R2Bucket;
}

const MIB = 1024 * 1024;
/** The part size of the registry, so that both sides move bytes in pieces of the same size. */
const PART_BYTES = 8 * MIB;

/** The handlers by method and first part of the path. The second part of the path is `key`. */
const ROUTES: Record<string, (request: Request, env: Bindings, key: string, context: ExecutionContext) => Promise<Response>> = {
  'GET ok': async () => new Response('ok'),
  'PUT sink': async (request) => sink(request),
  'PUT direct': direct,
  'PUT staged': staged,
  'PUT parts': parts,
  'GET object': object,
  'GET manifest': getManifest,
  'HEAD manifest': headManifest,
  'PUT manifest': putManifest,
  'HEAD blob': headBlob,
  'PUT blob': putBlob,
  'GET token': token,
};

export default {
  fetch(request, env, context) {
    const [, route = '', key = ''] = new URL(request.url).pathname.split('/');
    const answer = ROUTES[`${request.method} ${route}`];
    return answer ? answer(request, env, key, context) : new Response(null, { status: 404 });
  },
} satisfies ExportedHandler<Bindings>;

// ── bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Reads the body in large buffers and drops it, to measure how fast the load generator can send. */
async function sink(request: Request): Promise<Response> {
  let size = 0;
  for await (const buffer of buffersOf(request)) size += buffer.byteLength;
  return new Response(String(size));
}

async function direct(request: Request, env: Bindings, key: string): Promise<Response> {
  await env.BLOBS.put(key, request.body, { sha256: key });
  return new Response(null, { status: 201 });
}

/** Stores a body of unknown length. R2 does not accept such a body, so it is stored in pieces and then as one object. */
async function staged(request: Request, env: Bindings, key: string, context: ExecutionContext): Promise<Response> {
  const pieces: string[] = [];
  let size = 0;
  for await (const buffer of buffersOf(request)) {
    const piece = `piece/${crypto.randomUUID()}`;
    await env.BLOBS.put(piece, buffer);
    pieces.push(piece);
    size += buffer.byteLength;
  }
  const { readable, writable } = new FixedLengthStream(size);
  const pump = async () => {
    for (const piece of pieces) await (await env.BLOBS.get(piece))?.body.pipeTo(writable, { preventClose: true });
    await writable.close();
  };
  void pump();
  await env.BLOBS.put(key, readable, { sha256: key });
  context.waitUntil(env.BLOBS.delete(pieces));
  return new Response(null, { status: 201 });
}

async function parts(request: Request, env: Bindings, key: string): Promise<Response> {
  const upload = await env.BLOBS.createMultipartUpload(key);
  const done: R2UploadedPart[] = [];
  for await (const buffer of buffersOf(request)) done.push(await upload.uploadPart(done.length + 1, buffer));
  await upload.complete(done);
  return new Response(null, { status: 201 });
}

async function object(_request: Request, env: Bindings, key: string): Promise<Response> {
  const found = await env.BLOBS.get(key);
  if (!found) return new Response(null, { status: 404 });
  return new Response(found.body, { headers: { 'content-length': String(found.size) } });
}

async function* buffersOf(request: Request): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader({ mode: 'byob' });
  let memory = new ArrayBuffer(PART_BYTES);
  for (;;) {
    const { value, done } = await reader.readAtLeast(PART_BYTES, new Uint8Array(memory));
    if (value && value.byteLength > 0) yield value;
    if (done || !value) return;
    memory = value.buffer as ArrayBuffer;
  }
}

// ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface ManifestRow {
  media_type: string;
  digest: string;
  size: number;
  content: string;
}

async function getManifest(_request: Request, env: Bindings, key: string): Promise<Response> {
  const row = await env.DB.prepare('SELECT media_type, digest, size, content FROM manifests WHERE name = ?1')
    .bind(key)
    .first<ManifestRow>();
  return row ? new Response(row.content, { headers: headersOf(row) }) : new Response(null, { status: 404 });
}

async function headManifest(_request: Request, env: Bindings, key: string): Promise<Response> {
  const row = await env.DB.prepare('SELECT media_type, digest, size FROM manifests WHERE name = ?1')
    .bind(key)
    .first<ManifestRow>();
  return row ? new Response(null, { headers: headersOf(row) }) : new Response(null, { status: 404 });
}

function headersOf({ media_type, digest, size }: ManifestRow): HeadersInit {
  return { 'content-type': media_type, 'docker-content-digest': digest, 'content-length': String(size) };
}

/** Writes only what a push must write: the manifest if it is new, and the tag if it moves. @param key TAG@DIGEST */
async function putManifest(request: Request, env: Bindings, key: string): Promise<Response> {
  const [tag, digest = ''] = key.split('@');
  const type = request.headers.get('content-type');
  const text = await request.text();
  const insert = env.DB.prepare('INSERT INTO manifests VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING');
  await env.DB.batch([
    insert.bind(digest, type, digest, text.length, text),
    env.DB.prepare(
      `INSERT INTO tags VALUES (?1, ?2) ON CONFLICT DO UPDATE SET digest = excluded.digest WHERE digest <> excluded.digest`,
    ).bind(tag, digest),
  ]);
  return new Response(null, { status: 201 });
}

/** Also extends the lease of the blob, as the registry must do for a client that may push. */
async function headBlob(_request: Request, env: Bindings, key: string): Promise<Response> {
  const [, found] = await env.DB.batch<{ size: number }>([
    env.DB.prepare(
      'UPDATE blobs SET leased_until = unixepoch() + 86400 WHERE digest = ?1 AND leased_until < unixepoch() + 43200',
    ).bind(key),
    env.DB.prepare('SELECT size FROM blobs WHERE digest = ?1').bind(key),
  ]);
  const row = found?.results[0];
  return row ? new Response(null, { headers: { 'content-length': String(row.size) } }) : new Response(null, { status: 404 });
}

async function putBlob(request: Request, env: Bindings, key: string): Promise<Response> {
  const size = (await request.arrayBuffer()).byteLength;
  await env.DB.prepare('INSERT INTO blobs VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING').bind(key, size).run();
  return new Response(null, { status: 201 });
}

// ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────

let signingKey: Promise<CryptoKey> | undefined;

async function token(): Promise<Response> {
  signingKey ??= crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign']) as Promise<CryptoKey>;
  const signed = await new SignJWT({ access: [{ type: 'repository', name: 'bench/app', actions: ['pull', 'push'] }] })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('user:admin')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(await signingKey);
  return Response.json({ token: signed });
}
