/** The receiver in examples/, started as documented, with deliveries from the registry and from attackers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../world/registry.ts';

const RECEIVER = fileURLToPath(new URL('../../examples/deploy-receiver.mjs', import.meta.url));
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const DIGEST = `sha256:${'a'.repeat(64)}`;

let folder: string;
let port: number;
let receiver: ChildProcess;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'receiver-'));
  writeFileSync(
    join(folder, 'deploy.sh'),
    '#!/bin/sh\n[ -n "$SLOW" ] && sleep "$SLOW"\necho "$TAG $DIGEST $IMAGE" >> deployed\n',
  );
  chmodSync(join(folder, 'deploy.sh'), 0o755);
  port = await freePort();
  await start();
});

afterEach(async () => {
  await stop('SIGKILL');
  rmSync(folder, { recursive: true });
});

let printed = '';

async function start(env: Record<string, string> = {}): Promise<void> {
  receiver = spawn(process.execPath, [RECEIVER, './deploy.sh'], {
    cwd: folder,
    env: { ...process.env, WEBHOOK_SECRET: SECRET, RECEIVER_PORT: String(port), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    // The receiver leads a process group, so that its command can be ended with it.
    detached: true,
  });
  printed = '';
  receiver.stdout?.on('data', (text) => (printed += text));
  await new Promise<void>((resolve) => receiver.stdout?.once('data', () => resolve()));
}

function stop(signal: NodeJS.Signals): Promise<void> {
  if (receiver.exitCode !== null || receiver.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    receiver.once('exit', () => resolve());
    process.kill(-(receiver.pid as number), signal);
  });
}

function bodyOf(tag: string, sequence = 1, type = 'berth.image.tag.created'): string {
  return JSON.stringify({
    specversion: '1.0',
    id: String(sequence),
    source: 'https://registry.test/acme/api',
    type,
    sequence: String(sequence).padStart(16, '0'),
    data: {
      registry: 'registry.test',
      repository: 'acme/api',
      tag,
      digest: DIGEST,
      image: `registry.test/acme/api:${tag}@${DIGEST}`,
    },
  });
}

interface Sent {
  id?: string;
  at?: number;
  signedAs?: string;
  secret?: string;
}

async function send(body: string, { id = 'wh_1', at = Date.now() / 1000, signedAs = body, secret = SECRET }: Sent = {}) {
  const timestamp = String(Math.floor(at));
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${signedAs}`).digest('base64');
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,AAAA v1,${signature}` };
  return (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body })).status;
}

function deployed(): string[] {
  const file = join(folder, 'deployed');
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
}

async function until(lines: number): Promise<string[]> {
  for (let n = 0; n < 100 && deployed().length < lines; n++) await new Promise((resolve) => setTimeout(resolve, 50));
  return deployed();
}

describe('the receiver', () => {
  test('runs the command with the image and its digest', async () => {
    expect(await send(bodyOf('v1'))).toBe(202);
    expect(await until(1)).toEqual([`v1 ${DIGEST} registry.test/acme/api:v1@${DIGEST}`]);
  });

  test('runs it once, however often a delivery comes, even after its own restart', async () => {
    expect(await send(bodyOf('v1'))).toBe(202);
    expect(await send(bodyOf('v1'))).toBe(200);
    await until(1);
    await stop('SIGTERM');
    await start();
    expect(await send(bodyOf('v1'))).toBe(200);
    expect(await send(bodyOf('v2', 2), { id: 'wh_2' })).toBe(202);
    expect((await until(2)).map((line) => line.split(' ')[0])).toEqual(['v1', 'v2']);
  });

  test.each([
    ['another body than was signed', { signedAs: bodyOf('v2') }],
    ['another secret', { secret: `whsec_${Buffer.alloc(32, 8).toString('base64')}` }],
    ['a time six minutes ago', { at: Date.now() / 1000 - 360 }],
    ['a time six minutes ahead', { at: Date.now() / 1000 + 360 }],
  ])('refuses %s with 401, and runs nothing', async (_, sent) => {
    expect(await send(bodyOf('v1'), sent)).toBe(401);
    expect(await send(bodyOf('v3', 3), { id: 'wh_3' })).toBe(202);
    expect((await until(1)).map((line) => line.split(' ')[0])).toEqual(['v3']);
  });

  test('refuses a request without a signature, one that is too large, and one that is no POST', async () => {
    const url = `http://127.0.0.1:${port}/`;
    expect((await fetch(url, { method: 'POST', body: bodyOf('v1') })).status).toBe(401);
    expect((await fetch(url)).status).toBe(405);
    expect(await send('x'.repeat(70_000))).toBe(413);
  });

  test('does not return to an older push of a tag that arrives late', async () => {
    expect(await send(bodyOf('latest', 9, 'berth.image.tag.moved'), { id: 'wh_9' })).toBe(202);
    await until(1);
    expect(await send(bodyOf('latest', 8, 'berth.image.tag.moved'), { id: 'wh_8' })).toBe(202);
    expect(await send(bodyOf('v10', 10), { id: 'wh_10' })).toBe(202);
    expect((await until(2)).map((line) => line.split(' ')[0])).toEqual(['latest', 'v10']);
  });

  test('says how to stop it, and that a test arrived', async () => {
    expect(printed).toContain(`Listening on port ${port}. Ctrl-C ends it.`);
    expect(await send(bodyOf('', 4, 'berth.webhook.test'), { id: 'wh_4' })).toBe(202);
    for (let n = 0; n < 100 && !printed.includes('A test arrived'); n++) await new Promise((done) => setTimeout(done, 50));
    expect(printed).toContain('A test arrived, with the right signature. Nothing is deployed.');
    expect(deployed()).toEqual([]);
  });

  test('accepts other events, and runs nothing for them', async () => {
    expect(await send(bodyOf('v1', 5, 'berth.image.tag.deleted'), { id: 'wh_5' })).toBe(202);
    expect(await send(bodyOf('v6', 6), { id: 'wh_6' })).toBe(202);
    expect((await until(1)).map((line) => line.split(' ')[0])).toEqual(['v6']);
  });

  test('runs after a restart the commands of deliveries that it had accepted when it was killed', {
    tags: 'slow',
  }, async () => {
    await stop('SIGTERM');
    await start({ SLOW: '30' });
    expect(await send(bodyOf('v1'))).toBe(202);
    await stop('SIGKILL');
    await start();
    expect((await until(1)).map((line) => line.split(' ')[0])).toEqual(['v1']);
  });

  test('loses no accepted delivery if it was killed while it wrote to its journal', { tags: 'slow' }, async () => {
    await stop('SIGTERM');
    writeFileSync(join(folder, 'deployments.jsonl'), '{"id":"wh_0","sta');
    await start({ SLOW: '30' });
    expect(await send(bodyOf('v1'))).toBe(202);
    await stop('SIGKILL');
    await start();
    expect((await until(1)).map((line) => line.split(' ')[0])).toEqual(['v1']);
  });

  test('passes no names to a shell', async () => {
    expect(await send(bodyOf('$(touch x)`touch y`;touch z'))).toBe(202);
    expect((await until(1))[0]).toContain('$(touch x)`touch y`;touch z');
    expect(['x', 'y', 'z'].filter((name) => existsSync(join(folder, name)))).toEqual([]);
  });
});
