/** Whose request it is, under `npm start`: what the runtime says of the socket, and never what the client says of itself. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';

let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

interface Sent {
  /** The address to send from: all of 127.0.0.0/8 is this machine. */
  from: string;
  password?: string;
  lines?: string[];
  line?: string;
}

/** The status of the answer. */
function status({ from, password, lines = [], line = 'GET /v2/ HTTP/1.1' }: Sent): Promise<number> {
  const [host = '', port] = registry.host.split(':');
  const credentials = password === undefined ? [] : [`Authorization: Basic ${btoa(`admin:${password}`)}`];
  const text = [line, `Host: ${registry.host}`, 'Connection: close', ...credentials, ...lines].join('\r\n');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), localAddress: from });
    let answer = '';
    socket.on('data', (data) => (answer += data.toString('latin1')));
    socket.on('error', reject);
    socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])));
    socket.write(`${text}\r\n\r\n`);
  });
}

/** Every header by which somebody in front could say whose request it is. */
const CLAIMS: ((address: string) => string)[] = [
  (address) => `CF-Connecting-IP: ${address}`,
  (address) => `CF-Connecting-IPv6: 2001:db8::${address.split('.')[3]}`,
  (address) => `MF-CF-Blob: {"clientIp":"${address}:5000"}`,
  (address) => `CF-Blob: {"clientIp":"${address}:5000"}`,
  (address) => `True-Client-IP: ${address}`,
  (address) => `X-Real-IP: ${address}`,
  (address) => `X-Forwarded-For: ${address}`,
  (address) => `Forwarded: for=${address}`,
];

describe('wrong passwords', () => {
  test('are counted for the address of the socket, whatever headers say', async () => {
    const seen = new Set<number>();
    // More than two minutes may count: the limit starts anew in the middle.
    for (let n = 0; n < 100 && !seen.has(429); n++) {
      seen.add(
        await status({ from: '127.0.0.2', password: `wrong-${n}`, lines: CLAIMS.map((claim) => claim(`198.51.100.${n}`)) }),
      );
    }
    expect([...seen]).toEqual([401, 429]);
    expect(await status({ from: '127.0.0.2', password: registry.password })).toBe(429);
  });

  test('of one address shut out no other, be it said to be the same one', async () => {
    const lines = CLAIMS.map((claim) => claim('127.0.0.2'));
    expect(await status({ from: '127.0.0.3', password: registry.password, lines })).toBe(200);
  });

  test('are not counted where the right one comes again and again', async () => {
    const all: number[] = [];
    for (let n = 0; n < 100; n++) all.push(await status({ from: '127.0.0.4', password: registry.password }));
    expect(new Set(all)).toEqual(new Set([200]));
  });
});

test.each(['miniflare-unsafe-internal-capnp-connect', 'berth:80', '127.0.0.1:22'])(
  'nobody is connected past the front door: CONNECT %s',
  async (host) => {
    expect(await status({ from: '127.0.0.5', line: `CONNECT ${host} HTTP/1.1` })).toBeGreaterThanOrEqual(400);
  },
);
