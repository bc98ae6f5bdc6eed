/**
 * `npm start` on a machine with other users: they cannot read its files, use its ports or block its start.
 *
 * @module-tag slow
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);
/** The user `nobody`. Becoming another user takes root, as in CI. */
const OTHER = { uid: 65534, gid: 65534 };
const isRoot = process.getuid?.() === 0;

const SECRET_LAYER = 'bytes of a private layer';
const digest = `sha256:${createHash('sha256').update(SECRET_LAYER).digest('hex')}`;

let registry: Registry;
let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'berth-shared-'));
  // Creates a data folder like a copy with `cp -r`, which everybody may read.
  await mkdir(join(dataDir, 'storage', 'r2'), { recursive: true });
  await writeFile(join(dataDir, 'secret'), `${'s'.repeat(43)}\n`);
  for (const path of ['', 'storage', 'storage/r2']) await chmod(join(dataDir, path), 0o755);
  await chmod(join(dataDir, 'secret'), 0o644);
  registry = await startRegistry({ env: { DATA_DIR: dataDir } });
  const headers = { authorization: `Bearer ${registry.password}`, 'content-type': 'application/octet-stream' };
  const basic = { authorization: `Basic ${Buffer.from(`admin:${registry.password}`).toString('base64')}` };
  const url = `${registry.url}/v2/acme/api/blobs/uploads/?digest=${digest}`;
  const pushed = await fetch(url, { method: 'POST', headers: { ...headers, ...basic }, body: SECRET_LAYER });
  expect(pushed.status).toBe(201);
});
afterAll(async () => {
  await registry?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

/** The process ids of the program and of all processes that it started. */
async function family(): Promise<number[]> {
  const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=']);
  const pairs = stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number) as [number, number]);
  const found = [registry.process.pid as number];
  for (const pid of found) found.push(...pairs.filter(([, parent]) => parent === pid).map(([child]) => child));
  return found;
}

/** The TCP ports on which these processes listen (Linux). */
async function listeningPorts(): Promise<number[]> {
  const sockets = new Set<string>();
  for (const pid of await family()) {
    const { stdout } = await run('ls', ['-l', `/proc/${pid}/fd`]).catch(() => ({ stdout: '' }));
    for (const [, inode] of stdout.matchAll(/socket:\[(\d+)\]/g)) sockets.add(inode as string);
  }
  const lines = (await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8'))))
    .join('\n')
    .split('\n');
  const fields = lines.map((line) => line.trim().split(/\s+/));
  const listening = fields.filter((field) => field[3] === '0A' && sockets.has(field[9] ?? ''));
  return listening.map((field) => Number.parseInt(field[1]?.split(':')[1] ?? '', 16));
}

/** Sends an HTTP request to a port. @returns the status and body of the answer, or `closed` */
function ask(
  port: number,
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number | 'closed'; body: string }> {
  return new Promise((resolve) => {
    const sent = request({ host: '127.0.0.1', port, path, headers, timeout: 5000 }, (response) => {
      let body = '';
      response.on('data', (data) => (body += data)).on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on('error', () => resolve({ status: 'closed', body: '' })).on('timeout', () => sent.destroy());
    sent.end();
  });
}

/** The key of the object of the layer, for which the emulator's own port could be asked. */
async function objectKey(): Promise<string> {
  const { stdout } = await run('grep', ['-rhoaE', `blobs/sha256/${digest.slice(7)}/[0-9a-f]{32}`, join(dataDir, 'storage')]);
  return stdout.split('\n')[0] as string;
}

describe.runIf(process.platform === 'linux')('another user of the machine', () => {
  test.runIf(isRoot)('reads no file of the data folder, even if the folder was readable before', async () => {
    const script = `find ${dataDir} -type f 2>/dev/null | while read f; do head -c 1 "$f" >/dev/null 2>&1 && echo "$f"; done; true`;
    const { stdout } = await run('sh', ['-c', script], { ...OTHER, cwd: '/' });
    expect(stdout).toBe('');
  });

  test('finds two sockets besides the registry, and neither reveals anything', async () => {
    const port = Number(new URL(registry.url).port);
    const others = (await listeningPorts()).filter((one) => one !== port);
    // These are the emulator's own port, and the port on which the program accepts connections of the runtime.
    expect(others.length).toBeLessThanOrEqual(2);
    const key = await objectKey();
    expect(key).toMatch(/^blobs\//);
    const paths = [
      '/',
      '/v2/',
      '/api/v1/users',
      `/v2/acme/api/blobs/${digest}`,
      `/cdn-cgi/local/r2/public/berth/${key}`,
      `//cdn-cgi/local/r2/public/berth/${key}`,
      `/x/../cdn-cgi/local/r2/public/berth/${key}`,
      `/cdn-cgi/../cdn-cgi/local/r2/public/berth/${key}`,
      '/cdn-cgi/local/explorer',
      '/cdn-cgi/local/explorer/api/d1/database',
      '/cdn-cgi/local/scheduled',
      '/cdn-cgi/local/platform-proxy',
      '/cdn-cgi/mf/stream',
    ];
    const variants: Record<string, string>[] = [
      {},
      { host: 'localhost' },
      { 'MF-Route-Override': 'berth' },
      { host: `localhost:${port}` },
    ];
    for (const other of others) {
      for (const path of paths) {
        for (const headers of variants) {
          const { status, body } = await ask(other, path, headers);
          expect.soft([400, 403, 404, 'closed'], `${other} ${path} ${JSON.stringify(headers)}`).toContain(status);
          expect.soft(body).not.toContain(SECRET_LAYER);
        }
      }
    }
  });

  test.runIf(isRoot)('cannot prevent the start by occupying its lock', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'berth-locked-'));
    await mkdir(join(folder, 'storage'));
    // Other users create files with the names that they could guess, in a folder that everybody may write to.
    const name = createHash('sha256').update(folder).digest('hex').slice(0, 24);
    const blocker = spawn(
      process.execPath,
      [
        '--eval',
        `require('net').createServer((s) => s.end()).listen('${join(tmpdir(), `berth-${name}.lock`)}', () => console.log('up'))`,
      ],
      { ...OTHER, cwd: '/' },
    );
    await Promise.race([
      new Promise((resolve) => blocker.stdout.once('data', resolve)),
      new Promise((resolve) => blocker.once('exit', resolve)),
    ]);
    const other = await startRegistry({ env: { DATA_DIR: folder } });
    await other.stop();
    blocker.kill();
    expect((await stat(join(folder, 'storage'))).mode & 0o077).toBe(0);
    await rm(folder, { recursive: true, force: true });
  });
});

/** Starts the program and waits until it exits. */
function start(env: Record<string, string>): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['src/local/start.ts'], { cwd: ROOT, env: { ...process.env, ...env } });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    child.on('exit', (code) => resolve({ code, output }));
  });
}

test.runIf(isRoot)('a folder of another user is refused in one sentence', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-'));
  await run('chown', ['65534', folder]);
  const ended = await start({ DATA_DIR: folder });
  expect(ended).toMatchObject({
    code: 1,
    output: expect.stringContaining(`${folder} belongs to another user of this machine`),
  });
  await rm(folder, { recursive: true });
});

test('a folder that everybody may write to is refused in one sentence', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-'));
  await chmod(folder, 0o777);
  const ended = await start({ DATA_DIR: folder });
  expect(ended).toMatchObject({ code: 1, output: expect.stringContaining('may be written to by every user of this machine') });
  expect(ended.output).not.toContain('    at ');
  await rm(folder, { recursive: true });
});

test('a folder with a path too long for a socket can be locked too', async () => {
  const folder = join(await mkdtemp(join(tmpdir(), 'berth-')), 'a'.repeat(120));
  await mkdir(folder);
  const other = await startRegistry({ env: { DATA_DIR: folder } });
  expect(await start({ DATA_DIR: folder, PORT: '1' })).toMatchObject({
    code: 1,
    output: expect.stringContaining('already running on'),
  });
  await other.stop();
  await rm(folder, { recursive: true, force: true });
});
