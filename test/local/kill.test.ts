/**
 * The program is killed in the middle of pushes and started again on the same data. Acknowledged content exists with the right
 * bytes, other content can be pushed again, and an upload continues at its real offset.
 *
 * @module-tag slow
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';

const MIB = 1024 * 1024;
const REPOSITORY = 'acme/api';
const KILLS = 6;
let registry: Registry;
let headers: Record<string, string>;

beforeAll(async () => {
  registry = await startRegistry();
  headers = { authorization: `Basic ${Buffer.from(`admin:${registry.password}`).toString('base64')}` };
});
afterAll(() => registry.stop());

const at = (path: string) => new URL(path, registry.url);
const digestOf = (bytes: Uint8Array | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Pushes images one after the other until the registry does not answer. Adds acknowledged content to `blobs` and `tags`. */
async function pushUntilKilled(blobs: Map<string, Buffer>, tags: Map<string, string>, round: number): Promise<void> {
  for (let n = 0; ; n++) {
    const parts: { digest: string; size: number }[] = [];
    for (const size of [200, 300_000]) {
      const bytes = randomBytes(size);
      const digest = digestOf(bytes);
      const begun = await fetch(at(`/v2/${REPOSITORY}/blobs/uploads/`), { method: 'POST', headers });
      let location = at(begun.headers.get('location') ?? '');
      for (let offset = 0; offset < size; offset += 100_000) {
        const body = new Uint8Array(bytes.subarray(offset, offset + 100_000));
        const patched = await fetch(location, { method: 'PATCH', headers, body });
        location = at(patched.headers.get('location') ?? '');
      }
      location.searchParams.set('digest', digest);
      const done = await fetch(location, { method: 'PUT', headers });
      if (done.status === 201) blobs.set(digest, bytes);
      parts.push({ digest, size });
    }
    const [config, layer] = parts.map((part) => ({ mediaType: 'application/octet-stream', ...part }));
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const body = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer] });
    const tag = `r${round}-${n}`;
    const put = await fetch(at(`/v2/${REPOSITORY}/manifests/${tag}`), {
      method: 'PUT',
      headers: { ...headers, 'content-type': mediaType },
      body,
    });
    if (put.status === 201) tags.set(tag, digestOf(body));
  }
}

test('nothing that was answered 201 is lost, however often it is killed', async () => {
  const blobs = new Map<string, Buffer>();
  const tags = new Map<string, string>();
  for (let round = 0; round < KILLS; round++) {
    const pushing = Promise.all([0, 1, 2].map((worker) => pushUntilKilled(blobs, tags, round * 10 + worker).catch(() => {})));
    await sleep(300 + round * 170);
    await registry.kill9();
    await pushing;
    await registry.restart();
    for (const [digest, bytes] of blobs) {
      const pulled = await fetch(at(`/v2/${REPOSITORY}/blobs/${digest}`), { headers });
      expect(digestOf(new Uint8Array(await pulled.arrayBuffer()))).toBe(digestOf(bytes));
    }
    for (const [tag, digest] of tags) {
      const pulled = await fetch(at(`/v2/${REPOSITORY}/manifests/${tag}`), { headers });
      expect([pulled.status, digestOf(await pulled.text())]).toEqual([200, digest]);
    }
  }
  expect(blobs.size).toBeGreaterThan(6);
  expect(tags.size).toBeGreaterThan(3);
});

test('an upload that was cut off by the kill continues at the offset the registry states', async () => {
  const bytes = randomBytes(3 * MIB);
  const begun = await fetch(at(`/v2/${REPOSITORY}/blobs/uploads/`), { method: 'POST', headers });
  const first = await fetch(at(begun.headers.get('location') ?? ''), {
    method: 'PATCH',
    headers,
    body: new Uint8Array(bytes.subarray(0, MIB)),
  });
  const location = at(first.headers.get('location') ?? '');
  const cut = fetch(location, { method: 'PATCH', headers, body: new Uint8Array(bytes.subarray(MIB)) }).catch(() => {});
  await registry.kill9();
  await cut;
  await registry.restart();

  const status = await fetch(location, { headers });
  expect(status.status).toBe(204);
  const offset = Number(status.headers.get('range')?.slice(2)) + 1;
  expect([MIB, 3 * MIB]).toContain(offset);
  if (offset < bytes.byteLength) {
    const range = { 'content-range': `${offset}-${bytes.byteLength - 1}` };
    const rest = await fetch(location, {
      method: 'PATCH',
      headers: { ...headers, ...range },
      body: new Uint8Array(bytes.subarray(offset)),
    });
    expect(rest.status).toBe(202);
  }
  location.searchParams.set('digest', digestOf(bytes));
  expect((await fetch(location, { method: 'PUT', headers })).status).toBe(201);
  const pulled = await fetch(at(`/v2/${REPOSITORY}/blobs/${digestOf(bytes)}`), { headers });
  expect(digestOf(new Uint8Array(await pulled.arrayBuffer()))).toBe(digestOf(bytes));
});

test('a pending webhook delivery is sent soon after the program was killed and started again', async () => {
  const heard: string[] = [];
  const endpoint = createServer((request, response) => {
    let body = '';
    request
      .on('data', (data) => (body += data))
      .on('end', () => {
        heard.push(body);
        response.end();
      });
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
  const { port } = endpoint.address() as AddressInfo;
  const hooked = await startRegistry({ env: { INSECURE_WEBHOOKS: 'on' } });
  const bearer = { authorization: `Bearer ${hooked.password}`, 'content-type': 'application/json' };
  const made = await fetch(`${hooked.url}/api/v1/webhooks`, {
    method: 'POST',
    headers: bearer,
    body: JSON.stringify({ url: `http://127.0.0.1:${port}/`, types: ['repository.created'] }),
  });
  expect(made.status).toBe(201);
  const created = await fetch(`${hooked.url}/api/v1/repositories/acme`, { method: 'PUT', headers: bearer, body: '{}' });
  expect(created.status).toBe(201);
  await hooked.kill9();
  expect(heard, 'the queue waits a second for more').toEqual([]);
  await hooked.restart();
  await expect.poll(() => heard.length, { timeout: 30_000 }).toBe(1);
  expect(heard[0]).toContain('repository.created');
  await hooked.stop();
  endpoint.close();
});

test('an upload whose hash was in the memory of the killed program is continued, and its digest is still verified', async () => {
  const streaming = await startRegistry({ verify: 'stream' });
  try {
    const authorization = { authorization: `Basic ${Buffer.from(`admin:${streaming.password}`).toString('base64')}` };
    const bytes = randomBytes(20 * MIB);
    const upload = async (digest: string) => {
      const path = `${streaming.url}/v2/${REPOSITORY}/blobs/uploads/`;
      let answer = await fetch(path, { method: 'POST', headers: authorization });
      for (const [from, to] of [
        [0, 9 * MIB],
        [9 * MIB, 20 * MIB],
      ]) {
        const location = new URL(answer.headers.get('location') ?? '', streaming.url);
        const body = new Uint8Array(bytes.subarray(from, to));
        answer = await fetch(location, { method: 'PATCH', headers: authorization, body });
        expect([answer.status, answer.headers.get('range')]).toEqual([202, `0-${(to ?? 0) - 1}`]);
        if (from === 0) {
          await streaming.kill9();
          await streaming.restart();
        }
      }
      const location = new URL(answer.headers.get('location') ?? '', streaming.url);
      location.searchParams.set('digest', digest);
      return (await fetch(location, { method: 'PUT', headers: authorization })).status;
    };
    expect(await upload(digestOf('something else'))).toBe(400);
    expect(await upload(digestOf(bytes))).toBe(201);
    const pulled = await fetch(`${streaming.url}/v2/${REPOSITORY}/blobs/${digestOf(bytes)}`, { headers: authorization });
    expect(digestOf(new Uint8Array(await pulled.arrayBuffer()))).toBe(digestOf(bytes));
  } finally {
    await streaming.stop();
  }
});
