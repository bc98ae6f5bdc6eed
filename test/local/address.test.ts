/** The client address under `npm start`: taken from the socket, and never from what the client sends. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';

let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

interface Sent {
  /** The address from which the request is sent. All addresses of 127.0.0.0/8 are this machine. */
  from: string;
  password?: string;
  lines?: string[];
  line?: string;
}

/** Sends a request. @returns the status of the answer */
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

/** All headers in which a proxy could name the client. */
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
  test('are counted by the address of the socket, whatever headers say', async () => {
    const seen = new Set<number>();
    // More requests than two limits, because a new minute may begin during the loop.
    for (let n = 0; n < 100 && !seen.has(429); n++) {
      seen.add(
        await status({ from: '127.0.0.2', password: `wrong-${n}`, lines: CLAIMS.map((claim) => claim(`198.51.100.${n}`)) }),
      );
    }
    expect([...seen]).toEqual([401, 429]);
    expect(await status({ from: '127.0.0.2', password: registry.password })).toBe(429);
  });

  test('of one address do not block another, even if that claims the same address in a header', async () => {
    const lines = CLAIMS.map((claim) => claim('127.0.0.2'));
    expect(await status({ from: '127.0.0.3', password: registry.password, lines })).toBe(200);
  });

  test('are not counted when the right password is sent again and again', async () => {
    const all: number[] = [];
    for (let n = 0; n < 100; n++) all.push(await status({ from: '127.0.0.4', password: registry.password }));
    expect(new Set(all)).toEqual(new Set([200]));
  });
});

test.each(['miniflare-unsafe-internal-capnp-connect', 'berth:80', '127.0.0.1:22'])('CONNECT is refused: %s', async (host) => {
  expect(await status({ from: '127.0.0.5', line: `CONNECT ${host} HTTP/1.1` })).toBeGreaterThanOrEqual(400);
});
