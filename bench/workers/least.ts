/**
 * A Worker that answers the requests of container clients with the minimum number of calls to D1 and R2: it keeps a row for
 * each manifest, tag and blob, and an object for each blob. It checks no credentials and no rules.
 */
interface Bindings {
  DB: D1Database;
  BLOBS: R2Bucket;
}

/** A request, and the parts of its path. */
interface Asked {
  request: Request;
  env: Bindings;
  url: URL;
  /** The digest, tag or upload at the end of the path. */
  name: string;
}

const ROUTES: [RegExp, Record<string, (asked: Asked) => Promise<Response>>][] = [
  [/^\/v2\/.+\/blobs\/uploads\/$/, { POST: begin }],
  [/^\/v2\/.+\/blobs\/uploads\/(.+)$/, { PATCH: append, PUT: finish }],
  [/^\/v2\/.+\/blobs\/(.+)$/, { HEAD: headBlob, GET: getBlob }],
  [/^\/v2\/.+\/manifests\/(.+)$/, { HEAD: getManifest, GET: getManifest, PUT: putManifest }],
];

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname === '/token') return Response.json({ token: 'token', access_token: 'token' });
    if (!request.headers.has('authorization')) {
      return new Response(null, { status: 401, headers: { 'www-authenticate': `Bearer realm="${url.origin}/token"` } });
    }
    if (url.pathname === '/v2/') return new Response('{}');
    for (const [path, methods] of ROUTES) {
      const found = path.exec(url.pathname);
      if (found) return methods[request.method]?.({ request, env, url, name: found[1] ?? '' }) ?? empty(405);
    }
    return empty(404);
  },
} satisfies ExportedHandler<Bindings>;

function empty(status: number, headers: Record<string, string> = {}): Response {
  return new Response(null, { status, headers });
}

async function begin({ env, url }: Asked): Promise<Response> {
  const mount = url.searchParams.get('mount');
  if (mount !== null && (await sizeOf(env, mount)) !== null) return empty(201);
  return empty(202, { location: `${url.pathname}${crypto.randomUUID()}` });
}

async function append({ request, env, url, name }: Asked): Promise<Response> {
  await env.BLOBS.put(name, await request.arrayBuffer());
  return empty(202, { location: url.pathname });
}

async function finish({ request, env, url, name }: Asked): Promise<Response> {
  const digest = url.searchParams.get('digest') ?? '';
  const sent = await request.arrayBuffer();
  const bytes = sent.byteLength > 0 ? sent : await (await env.BLOBS.get(name))?.arrayBuffer();
  if (bytes === undefined) return empty(404);
  await env.BLOBS.put(digest, bytes, { sha256: digest.slice('sha256:'.length) });
  await env.DB.prepare('INSERT INTO blobs VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING').bind(digest, bytes.byteLength).run();
  return empty(201);
}

function sizeOf(env: Bindings, digest: string): Promise<number | null> {
  return env.DB.prepare('SELECT size FROM blobs WHERE digest = ?1').bind(digest).first<number>('size');
}

async function headBlob({ env, name }: Asked): Promise<Response> {
  const size = await sizeOf(env, name);
  return size === null ? empty(404) : empty(200, { 'content-length': String(size) });
}

async function getBlob({ env, name }: Asked): Promise<Response> {
  const found = await env.BLOBS.get(name);
  return found ? new Response(found.body, { headers: { 'content-length': String(found.size) } }) : empty(404);
}

async function getManifest({ request, env, name }: Asked): Promise<Response> {
  const row = await env.DB.prepare(
    `SELECT media_type, digest, content FROM manifests
     WHERE name = coalesce((SELECT digest FROM tags WHERE name = ?1), ?1)`,
  )
    .bind(name)
    .first<{ media_type: string; digest: string; content: string }>();
  if (!row) return empty(404);
  const headers = { 'content-type': row.media_type, 'docker-content-digest': row.digest };
  return new Response(request.method === 'HEAD' ? null : row.content, { headers });
}

async function putManifest({ request, env, name }: Asked): Promise<Response> {
  const bytes = await request.arrayBuffer();
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const digest = `sha256:${[...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  const insert = env.DB.prepare('INSERT INTO manifests VALUES (?1, ?2, ?1, ?3, ?4) ON CONFLICT DO NOTHING');
  const type = request.headers.get('content-type');
  await env.DB.batch([
    insert.bind(digest, type, bytes.byteLength, new TextDecoder().decode(bytes)),
    env.DB.prepare('INSERT INTO tags VALUES (?1, ?2) ON CONFLICT DO UPDATE SET digest = excluded.digest').bind(name, digest),
  ]);
  return empty(201);
}
