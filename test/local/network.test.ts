/** The network of a Worker under `npm start`: it reaches public addresses only, whatever name a URL has. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createTcpServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Miniflare } from 'miniflare';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { emulate } from '../../src/local/emulator.ts';
import { NOT_PUBLIC_IPV4 } from '../../src/outbound/addresses.ts';
import { freePort } from '../world/registry.ts';

/** A Worker that fetches the URL in its request and returns the result. */
const ASKER = `export default {
  async fetch(request) {
    try {
      const response = await fetch(await request.text(), { signal: AbortSignal.timeout(2000) });
      return Response.json({ text: await response.text() });
    } catch (error) {
      return Response.json({ error: error.message });
    }
  },
};`;

interface Answer {
  text?: string;
  error?: string;
}

/** The number of connections to the receiver. It must stay 0, because a guard that connects first would be useless. */
let connections = 0;
let port = 0;
let dataDir: string;
const receiver = createServer((_, response) => response.end('reached'));
receiver.on('connection', () => connections++);

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'berth-'));
  await writeFile(join(dataDir, 'asker.js'), ASKER);
  port = await listen(receiver);
});
beforeEach(() => {
  // Ends the connections of earlier tests, so that none is reused.
  receiver.closeAllConnections();
  connections = 0;
});
afterAll(async () => {
  receiver.closeAllConnections();
  receiver.close();
  await rm(dataDir, { recursive: true });
});

/** Listens on all addresses of the machine, including IPv6 addresses if there are any. @returns the port */
function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}

const addresses = new WeakMap<Miniflare, string>();

async function startAsker(folder: string, reachesPrivate: boolean): Promise<Miniflare> {
  const own = await freePort();
  const worker = await emulate({
    name: 'asker',
    main: join(dataDir, 'asker.js'),
    dataDir: join(dataDir, folder),
    host: '127.0.0.1',
    port: own,
    variables: {},
    reachesPrivate,
    prepare: async () => {},
  });
  addresses.set(worker, `http://127.0.0.1:${own}`);
  return worker;
}

async function ask(worker: Miniflare | undefined, url: string): Promise<Answer> {
  if (!worker) throw new Error('it did not start');
  const response = await fetch(addresses.get(worker) ?? '', { method: 'POST', body: url });
  return (await response.json()) as Answer;
}

/** Names and addresses of this machine. Without the guard, each of them reaches the receiver, which a test proves. */
const HERE = ['localhost', '127.0.0.1', '2130706433', '127.1', '0.0.0.0', '[::ffff:127.0.0.1]'];
/** The same in IPv6, which not every machine has. */
const HERE_BY_IPV6 = ['[::1]', '[::]'];

describe('with INSECURE_WEBHOOKS or INSECURE_ISSUERS a Worker', () => {
  let worker: Miniflare | undefined;
  beforeAll(async () => {
    worker = await startAsker('open', true);
  });
  afterAll(() => worker?.dispose());

  test.each(HERE)('reaches this machine as %s', async (host) => {
    expect(await ask(worker, `http://${host}:${port}/`)).toEqual({ text: 'reached' });
    expect(connections).toBe(1);
  });
});

/** The error of the runtime if it refuses to connect. */
const REFUSED = /^internal error/;

describe('otherwise, a Worker', () => {
  let worker: Miniflare | undefined;
  beforeAll(async () => {
    worker = await startAsker('guarded', false);
  });
  afterAll(() => worker?.dispose());

  test.each([...HERE, ...HERE_BY_IPV6])('does not reach this machine as %s', async (host) => {
    expect(await ask(worker, `http://${host}:${port}/`)).toEqual({ error: expect.any(String) });
    expect(connections).toBe(0);
  });

  test('does not reach it by https', async () => {
    expect(await ask(worker, `https://localhost:${port}/`)).toEqual({ error: expect.any(String) });
    expect(connections).toBe(0);
  });

  test('gets the same error whether anything listens there or not', async () => {
    const nothing = createTcpServer();
    const free = await listen(nothing);
    await new Promise((resolve) => nothing.close(resolve));
    const told = async (at: number) => (await ask(worker, `http://localhost:${at}/`)).error?.replace(/reference = \w+/, '');
    expect(await told(free)).toBe(await told(port));
  });

  test('may connect to public addresses, even if nobody answers (RFC 7534, AS112)', async () => {
    expect((await ask(worker, `http://192.31.196.1:${port}/`)).error).not.toMatch(REFUSED);
  });

  test('may connect to public addresses through NAT64 (RFC 6052)', { tags: 'slow' }, async () => {
    expect((await ask(worker, `http://[64:ff9b::192.31.196.1]:${port}/`)).error).not.toMatch(REFUSED);
  });

  test.each(NOT_PUBLIC_IPV4)('may not connect to %s (%s), nor through NAT64', async (range) => {
    for (const address of endsOf(range)) {
      expect((await ask(worker, `http://${address}:${port}/`)).error, address).toMatch(REFUSED);
      expect((await ask(worker, `http://[64:ff9b::${address}]:${port}/`)).error, address).toMatch(REFUSED);
    }
  });

  test.each([
    ...['[fc00::1]', '[fe80::1]', '[fec0::1]', '[::127.0.0.1]', '[::ffff:10.0.0.1]', '[2002:7f00:1::1]', '[2001::1]'],
    ...[
      '[64:ff9b:1::1]',
      '[100::1]',
      '[100:0:0:1::1]',
      '[2001:2::1]',
      '[2001:20::1]',
      '[2001:db8::1]',
      '[3fff::1]',
      '[5f00::1]',
    ],
    ...['[4000::1]', '[ff02::1]'],
  ])('is not let to %s', async (address) => {
    expect((await ask(worker, `http://${address}:${port}/`)).error).toMatch(REFUSED);
  });
});

/** The first and the last address of a range. */
function endsOf(range: string): string[] {
  const [address = '', bits] = range.split('/');
  const first = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  return [first, first + 2 ** (32 - Number(bits)) - 1].map((n) =>
    [n / 2 ** 24, n / 2 ** 16, n / 2 ** 8, n].map((part) => Math.floor(part) % 256).join('.'),
  );
}

test.each(['http://no-such-host.invalid/', 'http://10.0.0.1/'])(
  'a failed request to %s is one line in the log, without a stack',
  { tags: 'slow' },
  async (url) => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const worker = await startAsker('log', false);
    expect((await ask(worker, url)).error).toBeDefined();
    await expect.poll(() => said.mock.calls.length).toBe(1);
    expect(said.mock.calls[0]?.[0]).toMatch(/^runtime: [^\n]+$/);
    expect(said.mock.calls[0]?.[0]).not.toMatch(/stack|workerd@/);
    said.mockRestore();
    await worker.dispose();
  },
);
