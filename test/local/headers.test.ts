/** The headers of answers on the wire. Python's http.client reads at most 100 headers, and many proxies at most 16 KiB. */
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';

const TYPE = 'application/vnd.oci.image.manifest.v1+json';
const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

let registry: Registry;

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

interface Answer {
  status: number | undefined;
  /** The headers in the order in which they were sent. A name may occur several times. */
  headers: [name: string, value: string][];
}

function send(method: string, path: string, body: string, type = 'application/octet-stream'): Promise<Answer> {
  const authorization = `Basic ${btoa(`${registry.username}:${registry.password}`)}`;
  return new Promise((resolve, reject) => {
    const headers = { authorization, 'content-type': type, 'content-length': body.length };
    const sent = request(`${registry.url}${path}`, { method, headers }, (response) => {
      const { rawHeaders: raw } = response;
      const pairs = raw.flatMap((name, n) => (n % 2 === 0 ? [[name.toLowerCase(), raw[n + 1] ?? ''] as [string, string]] : []));
      response.resume().on('end', () => resolve({ status: response.statusCode, headers: pairs }));
    });
    sent.on('error', reject).end(body);
  });
}

/** Pushes another image with these tags. */
async function push(n: number, repository: string, tags: string[]): Promise<Answer> {
  await send('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf('{}')}`, '{}');
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf('{}'), size: 2 };
  const text = JSON.stringify({ schemaVersion: 2, config, layers: [], annotations: { n: String(n) } });
  const query = tags.map((tag) => `tag=${tag}`).join('&');
  return send('PUT', `/v2/${repository}/manifests/${digestOf(text)}?${query}`, text, TYPE);
}

const tagsOf = (count: number, length: number) => Array.from({ length: count }, (_, n) => `t${n}`.padEnd(length, 'x'));
const named = ({ headers }: Answer) => headers.flatMap(([name, value]) => (name === 'oci-tag' ? value.split(', ') : []));

test.each([
  [1, 1],
  [40, 128],
  [41, 5],
  [99, 60],
  [100, 5],
  [100, 128],
])('of a push of %i tags of %i characters name them all, also when they move', async (count, length) => {
  const repository = `${'a'.repeat(100)}/${'b'.repeat(100)}${count}-${length}`;
  const tags = tagsOf(count, length);
  for (const n of [1, 2]) {
    const answer = await push(n, repository, tags);
    expect(answer.status).toBe(201);
    expect(named(answer)).toEqual(tags);
    expect(answer.headers.length).toBeLessThan(75);
    expect(answer.headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0)).toBeLessThan(16 * 1024);
    const warnings = answer.headers.filter(([name]) => name === 'warning');
    expect(warnings.length > 0).toBe(n === 2);
  }
});

test('of a push of few tags name each in a line of its own', async () => {
  const { headers } = await push(1, 'acme/few', tagsOf(40, 10));
  expect(headers.filter(([name]) => name === 'oci-tag').map(([, value]) => value)).toEqual(tagsOf(40, 10));
});
