/** Rules for every request: methods and addresses, the form of refusals, and HEAD as GET without a body. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { ROUTES } from '../../src/http/routes.ts';
import { faulty } from '../world/faults.ts';
import { noise, pushBlob, pushImage, refusal } from '../world/images.ts';
import { inviteUser } from '../world/people.ts';
import { SPEC_CODES } from '../world/spec-codes.ts';
import { begin, countOf, shortened, statusOf } from '../world/uploads.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const NO_DIGEST = `sha256:${'0'.repeat(64)}`;

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

/** As the administrator and as an anonymous caller. */
const CALLERS = [{}, { authorization: null }];

describe('a method that an address does not have', () => {
  const samples = Object.entries(ROUTES).map(([pattern, row]) => ({
    path: pattern
      .replace(':name{.+}', 'acme/api')
      .replace(/:(digest|reference)/, NO_DIGEST)
      .replace(':upload', 'x'),
    allowed: Object.keys(row).flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
  }));
  samples.push({ path: '/v2/acme/api/blobs/uploads/', allowed: ['POST'] });
  samples.push({ path: '/v2/acme/api/tags/list/', allowed: ['GET', 'HEAD'] });

  test.each(samples)('of $path gets a 405 that names $allowed, for every caller', async ({ path, allowed }) => {
    for (const method of METHODS.filter((one) => !allowed.includes(one))) {
      for (const caller of CALLERS) {
        const response = await world.fetch(method, path, caller);
        expect(response.status).toBe(405);
        expect(response.headers.get('allow')).toBe(allowed.join(', '));
        if (method === 'HEAD') expect(response.body).toBeNull();
        else expect(await refusal(response)).toBe('405 UNSUPPORTED');
      }
    }
  });

  test.each(samples)('of $path: the allowed methods do not get a 405', async ({ path, allowed }) => {
    for (const method of allowed) expect(await statusOf(world, method, path)).not.toBe(405);
  });

  test('cannot be chosen by a header or a parameter', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const headers = { 'x-http-method-override': 'DELETE', 'x-http-method': 'DELETE', 'x-method-override': 'DELETE' };
    expect((await world.fetch('GET', '/v2/acme/api/manifests/v1?_method=DELETE', { headers })).status).toBe(200);
    const form = { ...headers, 'content-type': 'application/x-www-form-urlencoded' };
    const posted = await world.fetch('POST', '/v2/acme/api/manifests/v1?_method=DELETE', {
      headers: form,
      body: '_method=DELETE',
    });
    expect(await refusal(posted)).toBe('405 UNSUPPORTED');
    expect(await statusOf(world, 'GET', '/v2/acme/api/manifests/v1')).toBe(200);
  });
});

describe('an unknown address', () => {
  test.each([
    '/nowhere',
    '/v1/',
    '/v3/',
    '/v2x',
    '/favicon.ico',
    '/v2/unknown',
    '/v2/acme/api',
    '/v2/acme/api/',
    '/v2/acme/api/unknown/x',
    '/v2/acme/api/manifests',
    '/v2/acme/api/manifests/',
    '/v2/acme/api/tags',
    '/v2/acme/api/tags/other',
    '/v2/acme/api/blobs/',
    '/v2/acme/api/referrers/',
    `/v2/acme/api/blobs/${NO_DIGEST}/more`,
    '/v2/_catalog/more',
    '/v2/manifests/latest',
    '/v2/tags/list',
    '/token/more',
  ])('%s is a 404 in the form of every refusal, whoever asks and by whatever method', async (path) => {
    for (const method of METHODS) {
      for (const caller of CALLERS) {
        const response = await world.fetch(method, path, caller);
        expect([method, response.status]).toEqual([method, 404]);
        if (method === 'HEAD') expect(response.body).toBeNull();
        else expect(await refusal(response)).toBe('404 UNSUPPORTED');
      }
    }
  });

  test('is not /v2 without a slash, which some clients request', async () => {
    expect(await statusOf(world, 'GET', '/v2')).toBe(200);
    expect((await world.fetch('GET', '/v2', { authorization: null })).status).toBe(401);
  });
});

describe('a path with percent-encoding or an empty part', () => {
  test.each([
    '/v2/pub%2Fpriv/manifests/v1',
    '/v2/pub%2f..%2fpriv/manifests/v1',
    '/v2/pub%252Fpriv/manifests/v1',
    '/v2/%61cme/api/manifests/v1',
    '/v2/acme/api/manifests/v%31',
    '/v2/acme%00/manifests/v1',
    '/v2/acme%ff/manifests/v1',
    '/v2/acme%ZZ/manifests/v1',
    '/v2/acme%20api/manifests/v1',
    '/v2/acme/ä/manifests/v1',
    '/v2/acme/api/blobs/sha256%3A0000',
    '/v2//manifests/v1',
    '/v2/acme//api/manifests/v1',
    '/v2/acme/api//manifests/v1',
    '/v2/acme/api/manifests//v1',
  ])('%s is NAME_INVALID, whoever asks: nothing decodes it, nothing looks it up', async (path) => {
    const recorded = faulty(world.env);
    for (const method of ['GET', 'PUT', 'DELETE']) {
      for (const caller of CALLERS) {
        const response = await worldOf(recorded.env).fetch(method, path, caller);
        expect(await refusal(response)).toBe('400 NAME_INVALID');
      }
    }
    expect(recorded.calls).toEqual([]);
  });
});

describe('HEAD', () => {
  test('is GET without a body, with the same status and headers, wherever there is a GET, and changes nothing', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const blob = await pushBlob(world, 'acme/api', noise(100));
    const location = await begin(world);
    const paths = [
      '/v2/',
      '/v2/_catalog',
      '/v2/_catalog?n=0',
      '/v2/_catalog?n=x',
      '/v2/acme/api/tags/list',
      '/v2/acme/none/tags/list',
      '/v2/acme/api/manifests/v1',
      `/v2/acme/api/manifests/${image.digest}`,
      '/v2/acme/api/manifests/none',
      '/v2/acme/api/manifests/.bad',
      `/v2/acme/api/blobs/${blob.digest}`,
      `/v2/acme/api/blobs/${NO_DIGEST}`,
      '/v2/acme/api/blobs/garbage',
      `/v2/acme/api/referrers/${image.digest}`,
      '/v2/acme/api/referrers/garbage',
      location,
      `${location}x`,
      '/v2/UPPER/tags/list',
      '/v2/nothing',
    ];
    const before = await rows();
    for (const path of paths) {
      for (const caller of CALLERS) {
        const [got, head] = [await world.fetch('GET', path, caller), await world.fetch('HEAD', path, caller)];
        await got.arrayBuffer();
        expect([path, head.status, Object.fromEntries(head.headers)]).toEqual([
          path,
          got.status,
          Object.fromEntries(got.headers),
        ]);
        expect(head.body).toBeNull();
      }
    }
    expect(await rows()).toEqual(before);
  });

  test("states the length of the GET's body for every answer", async () => {
    await pushImage(world, 'acme/api', 'v1');
    for (const path of [
      '/v2/',
      '/v2/_catalog',
      '/v2/acme/api/tags/list',
      `/v2/acme/api/referrers/${NO_DIGEST}`,
      '/token',
      '/api',
      '/api/openapi.json',
      '/api/event.schema.json',
      '/api/v1/me',
      '/api/v1/repositories',
      '/join',
      '/v2/nothing',
      '/v2/acme/none/tags/list',
      '/v2/acme/api/manifests/none',
      `/v2/acme/api/blobs/${NO_DIGEST}`,
      '/v2/UPPER/tags/list',
      '/v2/acme/api/blobs/uploads',
      '/api/v1/nothing',
      '/api/v1/users/nobody',
    ]) {
      const [got, head] = [await world.fetch('GET', path), await world.fetch('HEAD', path)];
      const { byteLength } = await got.arrayBuffer();
      expect([path, head.headers.get('content-length')]).toEqual([path, String(byteLength)]);
      expect(byteLength).toBeGreaterThan(0);
    }
  });

  test('works like GET at the token service', async () => {
    const [got, head] = [await world.fetch('GET', '/token'), await world.fetch('HEAD', '/token')];
    expect(head.status).toBe(got.status);
    expect(head.body).toBeNull();
    expect(head.headers.get('cache-control')).toBe('no-store');
  });

  test('of a manifest or a blob states the length without opening an object', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const blob = await pushBlob(world, 'acme/api', noise(100));
    const recorded = faulty(world.env);
    const client = worldOf(recorded.env);
    const manifest = await client.fetch('HEAD', '/v2/acme/api/manifests/v1');
    expect(manifest.headers.get('content-length')).toBe(String(image.bytes.byteLength));
    expect((await client.fetch('HEAD', `/v2/acme/api/blobs/${blob.digest}`)).headers.get('content-length')).toBe('100');
    expect(recorded.calls.filter((name) => name.startsWith('BLOBS.'))).toEqual([]);
  });

  async function rows(): Promise<unknown> {
    const tables = ['repositories', 'blobs', 'repository_blobs', 'manifests', 'tags', 'uploads', 'events'];
    const counts = await world.env.DB.batch(tables.map((table) => world.env.DB.prepare(`SELECT count(*) AS n FROM ${table}`)));
    return counts.map(({ results }) => results);
  }
});

describe('every answer', () => {
  test('names the protocol version and forbids sniffing', async () => {
    await pushImage(world, 'acme/api', 'v1');
    for (const [method, path] of [
      ['GET', '/v2/'],
      ['GET', '/v2/acme/api/manifests/v1'],
      ['GET', '/v2/acme/api/manifests/none'],
      ['GET', '/v2/acme/api/tags/list'],
      ['POST', '/v2/acme/api/blobs/uploads/'],
      ['PUT', '/v2/'],
      ['GET', '/nothing'],
      ['GET', '/v2/a%2fb/tags/list'],
      ['GET', '/token'],
    ] as const) {
      for (const caller of CALLERS) {
        const { headers } = await world.fetch(method, path, caller);
        expect(headers.get('docker-distribution-api-version')).toBe('registry/2.0');
        expect(headers.get('x-content-type-options')).toBe('nosniff');
      }
    }
  });
});

describe('a store that fails', () => {
  const requests: [method: string, path: string, body?: string][] = [
    ['GET', '/v2/acme/api/manifests/v1'],
    ['HEAD', `/v2/acme/api/blobs/${NO_DIGEST}`],
    ['GET', `/v2/acme/api/blobs/${NO_DIGEST}`],
    ['DELETE', `/v2/acme/api/blobs/${NO_DIGEST}`],
    ['GET', '/v2/acme/api/tags/list'],
    ['GET', '/v2/_catalog'],
    ['GET', `/v2/acme/api/referrers/${NO_DIGEST}`],
    ['POST', `/v2/acme/api/blobs/uploads/?digest=${NO_DIGEST}`, 'bytes'],
    ['POST', `/v2/acme/api/blobs/uploads/?mount=${NO_DIGEST}&from=acme/base`],
  ];

  test.each(requests)('gets a 503 with Retry-After, never "not found" or "denied": %s %s', async (method, path, body) => {
    const failing = worldOf(faulty(world.env, 'fail-before', 0).env);
    const response = await failing.fetch(method, path, body === undefined ? {} : { body });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
    const text = await response.text();
    if (method === 'HEAD') expect(text).toBe('');
    else expect(JSON.parse(text)).toEqual({ errors: [{ code: 'UNAVAILABLE', message: 'storage is unavailable: try again' }] });
  });

  test('gets a 503 for upload status, chunks, finishing and cancelling, too', async () => {
    const location = await begin(world);
    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
      const failing = worldOf(faulty(world.env, 'fail-before', 0).env);
      const path = method === 'PUT' ? `${location}?digest=${NO_DIGEST}` : location;
      const response = await failing.fetch(method, path, method.startsWith('P') ? { body: 'bytes' } : {});
      expect(await refusal(response)).toBe('503 UNAVAILABLE');
    }
  });
});

describe('an oversized request', () => {
  const long = 60_000;
  const headers: Record<string, string> = {
    range: `bytes=${'9'.repeat(long)}-`,
    'if-none-match': '"a",'.repeat(long / 4),
    'if-range': 'W/'.repeat(long / 2),
    accept: 'a/b;q=0.1,'.repeat(long / 10),
    authorization: `Bearer ${'a.'.repeat(long / 2)}`,
    'content-range': `${'1'.repeat(long)}-`,
    'content-type': `a/${'b;'.repeat(long / 2)}`,
    'accept-encoding': 'gzip,'.repeat(long / 5),
    'x-forwarded-for': '1'.repeat(long),
  };

  test.each(Object.keys(headers))('with a %s of 60 KB is answered without an internal error', async (name) => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const location = await begin(world);
    const value = headers[name] ?? '';
    for (const [method, path] of [
      ['GET', '/v2/acme/api/manifests/v1'],
      ['PUT', `/v2/acme/api/manifests/${image.digest}`],
      ['PATCH', location],
    ] as const) {
      const response = await world.fetch(method, path, {
        headers: { [name]: value },
        ...(method === 'GET' ? {} : { body: '{}' }),
      });
      expect(response.status).toBeLessThan(500);
    }
  });

  test.each(
    [
      `/v2/${'a/'.repeat(10_000)}tags/list`,
      `/v2/acme/api/manifests/${'a'.repeat(20_000)}`,
      `/v2/acme/api/blobs/sha256:${'a'.repeat(20_000)}`,
      `/v2/acme/api/tags/list?n=${'1'.repeat(20_000)}`,
      `/v2/acme/api/tags/list?last=${'1'.repeat(20_000)}`,
      `/v2/_catalog?${'n=1&'.repeat(5000)}`,
      `/v2/acme/api/referrers/${NO_DIGEST}?artifactType=${'%41'.repeat(6000)}`,
    ].map(shortened),
  )('an address of 20 KB ($shown) is answered, and not as a fault of ours', async ({ value: path }) => {
    const started = performance.now();
    expect(await statusOf(world, 'GET', path)).toBeLessThan(500);
    expect(performance.now() - started).toBeLessThan(500);
  });

  test('with a path of more parts than a name can have is NAME_INVALID, and one of exactly as many is not', async () => {
    const most = 'a/'.repeat(128);
    expect(await refusal(await world.fetch('GET', `/v2/${most}tags/list`))).toBe('404 NAME_UNKNOWN');
    expect(await refusal(await world.fetch('GET', `/v2/${most}${most}tags/list`))).toBe('400 NAME_INVALID');
    expect(await refusal(await world.fetch('GET', `/v2/${'a/'.repeat(10_000)}tags/list`, { authorization: null }))).toBe(
      '400 NAME_INVALID',
    );
  });
});

describe('for any request', () => {
  const name = fc.constantFrom('acme/api', 'Acme', 'a..b', '', '__proto__', 'a'.repeat(300), 'acme/other', "x' OR 1=1 --");
  const last = fc.constantFrom('v1', 'latest', NO_DIGEST, 'sha256:short', 'uploads', 'list', '', '.x', 'x'.repeat(200), '*');
  const kind = fc.constantFrom('manifests', 'blobs', 'blobs/uploads', 'tags', 'referrers', 'nothing');
  const query = fc.constantFrom(
    '',
    '?n=0',
    '?n=-1',
    '?digest=x',
    `?digest=${NO_DIGEST}`,
    '?mount=x&from=y',
    '?last=%00',
    '?n=1&n=2',
  );
  const path = fc.tuple(name, kind, last, query).map(([n, k, l, q]) => `/v2/${n}/${k}/${l}${q}`);
  const header = fc.record(
    {
      range: fc.constantFrom('bytes=0-1', 'bytes=9-1', 'x'),
      'content-range': fc.constantFrom('0-1', '5-9', 'x'),
      'content-type': fc.constantFrom('text/html', 'application/vnd.oci.image.manifest.v1+json', 'x'),
      'if-none-match': fc.constantFrom('*', '"x"'),
    },
    { requiredKeys: [] },
  );
  const body = fc.constantFrom('', '{}', 'null', '[]', '{"schemaVersion":2}', '\u0000', 'x'.repeat(1000));

  test('a refusal has the standard form, a code of the specification, and no internal details', { tags: 'slow' }, async () => {
    await pushImage(world, 'acme/api', 'v1');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...METHODS),
        path,
        header,
        body,
        fc.boolean(),
        async (method, url, headers, text, known) => {
          const sent = method === 'GET' || method === 'HEAD' ? {} : { body: text };
          const response = await world.fetch(method, url, {
            headers: headers as Record<string, string>,
            ...sent,
            ...(known ? {} : { authorization: null }),
          });
          if (response.status < 400) return void (await response.arrayBuffer());
          expect(response.status).toBeLessThan(500);
          if (method === 'HEAD') return void expect(response.body).toBeNull();
          const answer = await response.text();
          const { errors } = JSON.parse(answer) as { errors: { code: string; message: string }[] };
          for (const { code, message } of errors) {
            expect(SPEC_CODES).toContain(code);
            expect(message).toMatch(/\w/);
          }
          expect(answer).not.toMatch(/SELECT|INSERT|SQLITE|D1_|\.ts\b|\bat \w+ \(|node_modules/);
        },
      ),
      { numRuns: 400 },
    );
    expect(await countOf(world, 'uploads')).toBe(0);
  });
});

describe('a path without the /-/ below the name of a repository', () => {
  const hint = (path: string) => `. Below the name of a repository comes /-/: try /api/v1/repositories/${path}`;

  test.each([
    ['GET', 'acme/api/tags', 'acme/api/-/tags'],
    ['GET', 'acme/api/tags/v1/history', 'acme/api/-/tags/v1/history'],
    ['DELETE', 'hello/tags/v1', 'hello/-/tags/v1'],
    ['POST', 'acme/api/tags/v1/rollback', 'acme/api/-/tags/v1/rollback'],
    ['POST', 'acme/api/lifecycle/preview', 'acme/api/-/lifecycle/preview'],
  ])('gets the address that was probably meant: %s %s', async (method, path, meant) => {
    const response = await world.fetch(method, `/api/v1/repositories/${path}`, { body: method === 'POST' ? '{}' : null });
    expect([404, 405]).toContain(response.status);
    expect(await response.text()).toContain(hint(meant));
  });

  test('gets it when the body is that of the other address', async () => {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ statements: [] });
    const response = await world.fetch('PUT', '/api/v1/repositories/acme/api/policy', { headers, body });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining(hint('acme/api/-/policy'))]);
  });

  test('gets the same answer whether or not the repository exists, and none where nothing is near', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const { basic } = await inviteUser(world, 'otto');
    const told = async (path: string) =>
      (await world.fetch('GET', `/api/v1/repositories/${path}`, { authorization: basic })).text();
    expect(await told('acme/api/tags')).toBe((await told('acme/apo/tags')).replaceAll('acme/apo', 'acme/api'));
    for (const path of ['acme/api', 'tags', 'acme/api/tag', 'acme/tags/v1']) expect(await told(path)).not.toContain('/-/');
  });
});
