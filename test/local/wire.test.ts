/**
 * The whole program over real connections: bodies without a length, bodies that break off or stall, ambiguous requests, and
 * answers on the wire.
 *
 * @module-tag walk
 */

import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Registry, startRegistry, type Verify } from '../world/registry.ts';
import { inFull } from '../world/sampling.ts';
import { type Answer, chunked, connection, exchange, head, LAST_CHUNK } from './raw-http.ts';

const MIB = 1024 * 1024;
/** The part size of the registry. */
const PART = 8 * MIB;

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const MODES: Verify[] = ['storage', 'stream'];

describe.each(inFull(MODES, MODES.slice(0, 1)))('VERIFY=%s', (verify) => {
  let registry: Registry;

  beforeAll(async () => {
    registry = await startRegistry({ verify });
  });
  afterAll(() => registry.stop());

  async function begin(): Promise<string> {
    const answer = await exchange(registry, 'POST /v2/acme/api/blobs/uploads/', ['Content-Length: 0']);
    expect(answer?.status).toBe(202);
    return answer?.headers.get('location') ?? '';
  }

  async function standing(location: string): Promise<string> {
    const answer = await exchange(registry, `GET ${location}`);
    return `${answer?.status} ${answer?.headers.get('range')}`;
  }

  function finish(location: string, digest: string, body: Uint8Array = new Uint8Array()): Promise<Answer | null> {
    return exchange(registry, `PUT ${location}?digest=${digest}`, [`Content-Length: ${body.byteLength}`], body);
  }

  async function pull(digest: string): Promise<string | number> {
    const answer = await exchange(registry, `GET /v2/acme/api/blobs/${digest}`);
    return answer?.status === 200 ? digestOf(answer.body) : (answer?.status ?? 0);
  }

  test('a PATCH in chunks, without Content-Length, is accepted', { tags: 'slow' }, async () => {
    for (const size of [0, 1, 100_000, PART, 2 * PART + 1234]) {
      const bytes = randomBytes(size);
      const body = Buffer.concat([chunked(bytes), Buffer.from(LAST_CHUNK)]);
      const location = await begin();
      const answer = await exchange(registry, `PATCH ${location}`, ['Transfer-Encoding: chunked'], body);
      expect([answer?.status, answer?.headers.get('range')]).toEqual([202, `0-${Math.max(0, size - 1)}`]);
      expect((await finish(location, digestOf(bytes)))?.status).toBe(201);
      expect(await pull(digestOf(bytes))).toBe(digestOf(bytes));
    }
  });

  test('a PUT in chunks, without Content-Length, is accepted', { tags: 'slow' }, async () => {
    const bytes = randomBytes(PART + 77);
    const body = Buffer.concat([chunked(bytes), Buffer.from(LAST_CHUNK)]);
    const request = `PUT ${await begin()}?digest=${digestOf(bytes)}`;
    expect((await exchange(registry, request, ['Transfer-Encoding: chunked'], body))?.status).toBe(201);
    expect(await pull(digestOf(bytes))).toBe(digestOf(bytes));
  });

  test('a PUT that breaks off stores nothing, even if what arrived has the right digest', { tags: 'slow' }, async () => {
    const bytes = randomBytes(300);
    const location = await begin();
    for (const lines of [['Content-Length: 1000'], ['Transfer-Encoding: chunked']]) {
      const open = await connection(registry);
      open.write(head(registry, `PUT ${location}?digest=${digestOf(bytes)}`, lines));
      open.write(lines[0]?.startsWith('Transfer') ? chunked(bytes) : bytes);
      await sleep(200);
      open.hangUp();
    }
    await sleep(300);
    expect(await pull(digestOf(bytes))).toBe(404);
    expect(await standing(location)).toBe('204 0-0');
    expect((await finish(location, digestOf(bytes), bytes))?.status).toBe(201);
  });

  test('a PATCH in chunks that breaks off keeps complete parts; the status says how many, and the upload continues there', {
    tags: 'slow',
  }, async () => {
    const bytes = randomBytes(3 * PART);
    const location = await begin();
    const open = await connection(registry);
    open.write(head(registry, `PATCH ${location}`, ['Transfer-Encoding: chunked']));
    open.write(chunked(bytes.subarray(0, 2 * PART + 5000)));
    open.end();
    const kept = await received(location);
    expect(kept).toBe(2 * PART);
    open.hangUp();
    expect((await finish(location, digestOf(bytes), bytes.subarray(kept)))?.status).toBe(201);
    expect(await pull(digestOf(bytes))).toBe(digestOf(bytes));
  });

  test('a PATCH of known length that breaks off leaves a correct status, from which the upload continues', {
    tags: 'slow',
  }, async () => {
    const bytes = randomBytes(2 * PART);
    const location = await begin();
    await exchange(registry, `PATCH ${location}`, ['Content-Length: 1000'], bytes.subarray(0, 1000));
    for (const size of [500, 500_000]) {
      const open = await connection(registry);
      open.write(head(registry, `PATCH ${location}`, [`Content-Length: ${size}`]));
      open.write(bytes.subarray(1000, 1000 + size / 2));
      await sleep(200);
      open.hangUp();
      await sleep(200);
      expect(await standing(location)).toBe('204 0-999');
    }
    expect((await finish(location, digestOf(bytes), bytes.subarray(1000)))?.status).toBe(201);
  });

  test('a PATCH that stalls does not block the upload: the next one is accepted, and the stalled one is refused', async () => {
    const bytes = randomBytes(1000);
    const location = await begin();
    const stalled = await connection(registry);
    stalled.write(head(registry, `PATCH ${location}`, ['Content-Length: 1000']));
    stalled.write(bytes.subarray(0, 10));
    await sleep(200);
    const answer = await exchange(registry, `PATCH ${location}`, ['Content-Length: 1000'], bytes);
    expect(answer?.status).toBe(202);
    stalled.write(bytes.subarray(10));
    const late = await stalled.answer({ to: 'PATCH' });
    expect([late?.status, late?.headers.get('range')]).toEqual([416, '0-999']);
    stalled.hangUp();
    expect((await finish(location, digestOf(bytes)))?.status).toBe(201);
  });

  /** The offset of an upload, as soon as it is not 0. The request whose connection broke may still be in progress. */
  async function received(location: string): Promise<number> {
    for (;;) {
      const last = Number((await standing(location)).split('-')[1]);
      if (last > 0) return last + 1;
      await sleep(100);
    }
  }
});

describe('on the wire', () => {
  let registry: Registry;
  const bytes = randomBytes(100_000);
  const blob = `/v2/acme/api/blobs/${digestOf(bytes)}`;
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const descriptor = { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.byteLength };
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers: [descriptor] }, null, 3);

  beforeAll(async () => {
    registry = await startRegistry();
    const lines = [`Content-Length: ${bytes.byteLength}`];
    const pushed = await exchange(registry, `POST /v2/acme/api/blobs/uploads/?digest=${digestOf(bytes)}`, lines, bytes);
    expect(pushed?.status).toBe(201);
    const put = [`Content-Length: ${manifest.length}`, `Content-Type: ${mediaType}`];
    expect((await exchange(registry, 'PUT /v2/acme/api/manifests/v1', put, manifest))?.status).toBe(201);
  });
  afterAll(() => registry.stop());

  const codeOf = (answer: Answer | null) => {
    const { errors } = JSON.parse(answer?.body.toString() ?? '') as { errors: { code: string }[] };
    return `${answer?.status} ${errors[0]?.code}`;
  };

  async function expectAlive(): Promise<void> {
    expect((await exchange(registry, 'GET /v2/'))?.status).toBe(200);
  }

  describe('an answer', () => {
    test.each(['gzip, br', 'gzip;q=1.0, *;q=0.5', 'identity;q=0, gzip'])(
      'to a client that accepts "%s" has the bytes and the length that were pushed',
      async (accepted) => {
        for (const [path, content] of [
          [blob, bytes],
          ['/v2/acme/api/manifests/v1', Buffer.from(manifest)],
        ] as const) {
          const answer = await exchange(registry, `GET ${path}`, [`Accept-Encoding: ${accepted}`]);
          expect(answer?.headers.get('content-encoding')).toBeUndefined();
          expect(answer?.headers.get('content-length')).toBe(String(content.byteLength));
          expect(answer?.body.equals(content)).toBe(true);
        }
      },
    );

    test('to HEAD has the length and no body: the next answer on the connection is separate', async () => {
      const open = await connection(registry);
      for (const [path, length] of [
        [blob, bytes.byteLength],
        ['/v2/acme/api/manifests/v1', manifest.length],
      ] as const) {
        open.write(head(registry, `HEAD ${path}`));
        const answer = await open.answer({ to: 'HEAD' });
        expect([answer?.status, answer?.headers.get('content-length')]).toEqual([200, String(length)]);
      }
      open.write(head(registry, `HEAD /v2/acme/api/blobs/${digestOf(Buffer.from('none'))}`));
      expect((await open.answer({ to: 'HEAD' }))?.status).toBe(404);
      open.write(head(registry, 'GET /v2/acme/api/tags/list'));
      expect(JSON.parse((await open.answer())?.body.toString() ?? '')).toEqual({ name: 'acme/api', tags: ['v1'] });
      open.hangUp();
    });

    test('to a condition that holds is a 304 without a body, and the connection stays open', async () => {
      const open = await connection(registry);
      open.write(head(registry, `GET ${blob}`, [`If-None-Match: "${digestOf(bytes)}"`]));
      expect((await open.answer())?.status).toBe(304);
      open.write(head(registry, 'GET /v2/'));
      expect((await open.answer())?.body.toString()).toBe('{}');
      open.hangUp();
    });

    test('to an upload start has a location that can be resolved against the address of the request', async () => {
      const begun = await exchange(registry, 'POST /v2/acme/api/blobs/uploads/', ['Content-Length: 0']);
      const location = new URL(begun?.headers.get('location') ?? '', `${registry.url}/v2/acme/api/blobs/uploads/`);
      expect(location.origin).toBe(registry.url);
      const sent = randomBytes(50);
      location.searchParams.set('digest', digestOf(sent));
      const headers = { authorization: `Basic ${btoa(`${registry.username}:${registry.password}`)}` };
      const done = await fetch(location, { method: 'PUT', body: new Uint8Array(sent), headers });
      expect(done.status).toBe(201);
      const got = await fetch(new URL(done.headers.get('location') ?? '', location), { headers });
      expect(Buffer.from(await got.arrayBuffer()).equals(sent)).toBe(true);
    });

    test('to Expect: 100-continue comes after the body', async () => {
      const sent = randomBytes(1000);
      const open = await connection(registry);
      const lines = ['Content-Length: 1000', 'Expect: 100-continue'];
      open.write(head(registry, `POST /v2/acme/api/blobs/uploads/?digest=${digestOf(sent)}`, lines));
      await sleep(100);
      open.write(sent);
      expect((await open.answer({ to: 'POST' }))?.status).toBe(201);
      open.hangUp();
    });
  });

  test('a pull that broke off is resumed with a range', async () => {
    const open = await connection(registry);
    open.write(head(registry, `GET ${blob}`));
    open.hangUp();
    const first = await exchange(registry, `GET ${blob}`, ['Range: bytes=0-39999']);
    const rest = await exchange(registry, `GET ${blob}`, ['Range: bytes=40000-', `If-Range: "${digestOf(bytes)}"`]);
    expect([first?.status, rest?.status]).toEqual([206, 206]);
    expect(rest?.headers.get('content-range')).toBe('bytes 40000-99999/100000');
    expect(Buffer.concat([first?.body ?? bytes, rest?.body ?? bytes]).equals(bytes)).toBe(true);
    const beyond = await exchange(registry, `GET ${blob}`, ['Range: bytes=100000-']);
    expect([beyond?.status, beyond?.headers.get('content-range')]).toEqual([416, 'bytes */100000']);
    expect(Number(beyond?.headers.get('content-length'))).toBe(beyond?.body.byteLength);
  });

  describe('an ambiguous request', () => {
    const smuggled = 'GET /v2/smuggled HTTP/1.1\r\nHost: x\r\n\r\n';

    test.each([
      { kind: 'two lengths', lines: ['Content-Length: 5', 'Content-Length: 6'], statuses: [400] },
      { kind: 'a length with a sign', lines: ['Content-Length: +5'], statuses: [400] },
      { kind: 'a negative length', lines: ['Content-Length: -5'], statuses: [400] },
      { kind: 'a hexadecimal length', lines: ['Content-Length: 0x5'], statuses: [400] },
      { kind: 'a space before the colon', lines: ['Content-Length : 5'], statuses: [400] },
      { kind: 'a folded line', lines: ['X-Long: a', ' b'], statuses: [400] },
      { kind: 'an unknown transfer encoding', lines: ['Transfer-Encoding: xchunked'], statuses: [400] },
      // The server may refuse the request or read the chunks, and must close the connection in both cases (RFC 9112, 6.3).
      { kind: 'a length and chunks', lines: ['Content-Length: 5', 'Transfer-Encoding: chunked'], statuses: [400, 202] },
      { kind: 'chunks and a length', lines: ['Transfer-Encoding: chunked', 'Content-Length: 5'], statuses: [400, 202] },
    ])('with $kind has one answer, and what follows it is no request', async ({ lines, statuses }) => {
      const open = await connection(registry);
      open.write(head(registry, 'POST /v2/acme/api/blobs/uploads/', lines));
      open.write(`0\r\n\r\n${smuggled}`);
      expect(statuses).toContain((await open.answer({ to: 'POST' }))?.status);
      expect(await open.answer()).toBeNull();
      await expectAlive();
    });

    test.each(['Host: evil.example', 'Host: a b'])('with a second host, "%s", is refused', async (line) => {
      for (const path of ['/v2/', '/token', '/other']) {
        expect(codeOf(await exchange(registry, `GET ${path}`, [line]))).toBe('400 UNSUPPORTED');
      }
    });

    test.each(['a b', 'a"b', 'user@evil.example', 'evil.example/v2/x?', 'a%2fb', 'a,b', '[::1'])(
      'with the host "%s" is refused, and the host is not repeated in a challenge',
      async (host) => {
        const open = await connection(registry);
        open.write(`GET /v2/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
        const answer = await open.answer();
        expect(codeOf(answer)).toBe('400 UNSUPPORTED');
        expect(answer?.headers.get('www-authenticate')).toBeUndefined();
        open.hangUp();
      },
    );

    test.each(['registry.example', 'registry_1:5000', '127.0.0.1', '[::1]:8787'])(
      'with the host "%s" gets a challenge for that host',
      async (host) => {
        const open = await connection(registry);
        open.write(`GET /v2/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
        expect((await open.answer())?.headers.get('www-authenticate')).toContain(`realm="http://${host}/token"`);
        open.hangUp();
      },
    );
  });

  describe('a path', () => {
    test.each([
      '/v2/acme%2Fapi/manifests/v1',
      '/v2/acme/x/%2e%2e/api/manifests/v1',
      '/v2/acme/api/manifests/%2e%2e',
      '/v2/acme/api/manifests/%76%31',
      '/v2/acme/%2e/api/manifests/v1',
      '/v2/acme/x/../api/manifests/v1',
      '/v2/acme\\api/manifests/v1',
      '/v2/acme/./api/manifests/v1',
      '/v2/acme%/manifests/v1',
      '/v2/acme/api%00/manifests/v1',
      '/v2/acm\u00e9/api/manifests/v1',
      '/v2//acme/api/manifests/v1',
    ])('%s is NAME_INVALID: it is taken as it was sent, or not at all', async (path) => {
      for (const method of ['GET', 'DELETE'])
        expect(codeOf(await exchange(registry, `${method} ${path}`))).toBe('400 NAME_INVALID');
    });

    test.each(['/v2/../token', '/v2/%2e%2e/token', '/token/../v2/', '//v2/', '*', '/v2/acme/api#/manifests/v1'])(
      '%s reaches nothing else',
      async (path) => {
        expect([400, 404]).toContain((await exchange(registry, `GET ${path}`))?.status);
      },
    );

    test('in an absolute address is the same path', async () => {
      expect((await exchange(registry, `GET ${registry.url}/v2/acme/api/manifests/v1`))?.status).toBe(200);
    });
  });

  test.each(['TRACE', 'OPTIONS', 'PROPFIND'])('%s is a method like others that are not here', async (method) => {
    const answer = await exchange(registry, `${method} /v2/acme/api/manifests/v1`);
    expect(codeOf(answer)).toBe('405 UNSUPPORTED');
    expect(answer?.headers.get('allow')).toBe('GET, HEAD, PUT, DELETE');
    expect(answer?.body.includes('Authorization')).toBe(false);
  });

  test.each([
    { kind: 'a header of 64 KB', request: 'GET /v2/', lines: [`X-Long: ${'x'.repeat(64 * 1024)}`] },
    { kind: 'a thousand headers', request: 'GET /v2/', lines: Array.from({ length: 1000 }, (_, n) => `X-${n}: x`) },
    { kind: 'an address of 20 KB', request: `GET /v2/acme/api/tags/list?last=${'x'.repeat(20_000)}`, lines: [] },
    { kind: 'a path of 10,000 parts', request: `GET /v2/${'a/'.repeat(10_000)}tags/list`, lines: [] },
    { kind: 'an address of 300 KB', request: `GET /v2/acme/api/tags/list?last=${'x'.repeat(300_000)}`, lines: [] },
  ])('$kind is answered, and not as a fault of ours; the program goes on', async ({ request, lines }) => {
    expect((await exchange(registry, request, lines))?.status).toBeLessThan(500);
    await expectAlive();
  });

  test.each(['BREW /v2/', 'CONNECT registry.example:443', 'get /v2/', 'PRI * HTTP/2.0', '\u0016\u0003\u0001', ''])(
    'something other than an HTTP/1.1 request ("%s") does not stop the program',
    async (request) => {
      const open = await connection(registry);
      open.write(head(registry, request));
      await Promise.race([open.answer(), sleep(1000)]);
      open.hangUp();
      await expectAlive();
    },
  );

  test('a client that disconnects in the middle of many pulls does not stop the program', async () => {
    const opened = await Promise.all(Array.from({ length: 20 }, () => connection(registry)));
    for (const open of opened) open.write(head(registry, `GET ${blob}`));
    await sleep(20);
    for (const open of opened) open.hangUp();
    await expectAlive();
    expect((await exchange(registry, `GET ${blob}`))?.body.equals(bytes)).toBe(true);
  });
});
