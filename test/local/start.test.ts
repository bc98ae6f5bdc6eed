/** `npm start` for a new user: its output, its settings, and its end. */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

interface Ended {
  code: number | null;
  output: string;
}

/** Starts the program and waits until it exits. */
function start(env: Record<string, string>, program = 'src/local/start.ts'): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program], { cwd: ROOT, env: { ...process.env, ...env } });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    child.on('exit', (code) => resolve({ code, output }));
  });
}

/** A program that prints if it got the lock of the folder in its argument, and keeps running. */
const LOCK_AND_WAIT = `
  import('./src/local/lock.ts')
    .then(({ claimFolder, lockFolder }) => (claimFolder(process.argv[1]), lockFolder(process.argv[1])))
    .then(() => console.log('locked'), () => console.log('taken'));
  setInterval(() => {}, 1000);`;

function basic(password: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` };
}

describe('the first start', () => {
  let registry: Registry;
  beforeAll(async () => {
    registry = await startRegistry({ env: { ADMIN_PASSWORD: '' } });
  });
  afterAll(() => registry.stop());

  test('prints its addresses, the login, and a push to paste', () => {
    const output = registry.output();
    expect(output).toContain(`Berth is ready at ${registry.url}`);
    expect(output).toMatch(/User +admin/);
    expect(output).toContain(`docker login -u admin --password-stdin ${registry.host}`);
    expect(output).toContain(`docker tag hello-world ${registry.host}/hello-world`);
    expect(output).toContain(`docker push ${registry.host}/hello-world`);
    expect(output).toContain(`Console    ${registry.url}/\n`);
    expect(output).toContain(`API        ${registry.url}/api\n`);
    expect(output).not.toContain('Warning');
    expect(output).not.toMatch(/warn|experimental|deprecat/i);
  });

  test('has no older database to copy or to upgrade', async () => {
    expect(await readdir(registry.dataDir)).not.toContain('backups');
    expect(registry.output()).not.toContain('upgraded');
  });

  test('makes a password that works and can be shown again, and a secret that is never printed', async () => {
    const { stdout } = await run(process.execPath, ['src/local/password.ts'], {
      cwd: ROOT,
      env: { ...process.env, DATA_DIR: registry.dataDir },
    });
    const password = stdout.trim();
    expect(password).toMatch(/^berth_[a-z2-7]{32}$/);
    expect(registry.output()).toContain(password);
    expect((await fetch(`${registry.url}/v2/`, { headers: basic(password) })).status).toBe(200);
    const secret = (await readFile(join(registry.dataDir, 'secret'), 'utf8')).trim();
    expect(registry.output()).not.toContain(secret);
    expect((await stat(join(registry.dataDir, 'secret'))).mode & 0o077).toBe(0);
  });

  test('prints a command for the password that works as it is in another terminal', { tags: 'slow' }, async () => {
    const [, command = ''] = /\(again: (.*)\)/.exec(registry.output()) ?? [];
    expect(command).toBe(`DATA_DIR='${registry.dataDir}' npm run --silent password`);
    const { DATA_DIR: _, ...env } = process.env;
    const { stdout } = await run('bash', ['-c', command], { cwd: ROOT, env });
    expect((await fetch(`${registry.url}/v2/`, { headers: basic(stdout.trim()) })).status).toBe(200);
  });

  test('is the only one on its data', { tags: 'slow' }, async () => {
    const second = await start({ DATA_DIR: registry.dataDir, PORT: '1' });
    expect(second).toMatchObject({ code: 1, output: expect.stringContaining('already running on') });
  });

  test('is the only one even if many start at once', { tags: 'slow' }, async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'berth-'));
    const children = [0, 1, 2, 3].map(() => spawn(process.execPath, ['--eval', LOCK_AND_WAIT, dataDir], { cwd: ROOT }));
    const said = await Promise.all(
      children.map((child) => new Promise<string>((resolve) => child.stdout.once('data', (text) => resolve(`${text}`)))),
    );
    for (const child of children) child.kill('SIGKILL');
    expect(said.sort()).toEqual(['locked\n', 'taken\n', 'taken\n', 'taken\n']);
    await rm(dataDir, { recursive: true });
  });

  test('keeps its port', { tags: 'slow' }, async () => {
    const other = await mkdtemp(join(tmpdir(), 'berth-'));
    const second = await start({ DATA_DIR: other, PORT: new URL(registry.url).port });
    expect(second).toMatchObject({ code: 1, output: expect.stringContaining('something else is using it') });
    await rm(other, { recursive: true });
  });

  test('prints nothing of the emulator', async () => {
    for (const path of [
      '/cdn-cgi/local/explorer',
      '/cdn-cgi/local/scheduled',
      '/cdn-cgi/handler/scheduled',
      '/__cf_local/stream',
    ]) {
      expect((await fetch(`${registry.url}${path}`)).status).toBe(404);
    }
  });
});

test.each([
  ['a port that is none', { PORT: 'http' }, 'PORT is "http"'],
  ['a way to verify that is none', { VERIFY: 'never' }, 'VERIFY is "never"'],
  ['a folder it cannot make', { DATA_DIR: '/dev/null/data' }, 'DATA_DIR /dev/null/data cannot be used'],
  ['a password that is short', { ADMIN_PASSWORD: 'fifteen letters' }, 'ADMIN_PASSWORD is too short: it must be 16 characters'],
])(
  '%s is refused in one sentence, without a stack, also where the password is asked for',
  { tags: 'slow' },
  async (_, env, message) => {
    for (const program of ['src/local/start.ts', 'src/local/password.ts']) {
      const ended = await start(env, program);
      expect(ended, program).toMatchObject({ code: 1, output: expect.stringContaining(message) });
      expect(ended.output).not.toContain('    at ');
    }
  },
);

test('the password of a folder without a registry is refused in words, and nothing is created', async () => {
  const dataDir = join(await mkdtemp(join(tmpdir(), 'berth-')), 'data');
  const ended = await start({ DATA_DIR: dataDir }, 'src/local/password.ts');
  expect(ended).toMatchObject({
    code: 1,
    output: expect.stringContaining(`There is no registry in ${dataDir}, and nothing was`),
  });
  await expect(stat(dataDir)).rejects.toThrow('ENOENT');
});

describe('a start with a given secret, on a new folder and on every address of the machine', () => {
  const secret = 'a-secret-of-the-tests-0123456789abcdef';
  let parent: string;
  let registry: Registry;
  beforeAll(async () => {
    parent = await mkdtemp(join(tmpdir(), 'berth-'));
    const env = { DATA_DIR: join(parent, 'new'), REGISTRY_SECRET: secret, ADMIN_PASSWORD: '', HOST: '0.0.0.0' };
    registry = await startRegistry({ env });
  });
  afterAll(async () => {
    await registry.stop();
    await rm(parent, { recursive: true, force: true });
  });

  test('creates the folder for its user only', async () => {
    expect((await stat(join(parent, 'new'))).mode & 0o077).toBe(0);
  });

  test('prints a password that can be shown again with the same secret only', { tags: 'slow' }, async () => {
    const DATA_DIR = join(parent, 'new');
    expect(registry.output()).toContain('npm run --silent password, with the same REGISTRY_SECRET)');
    const { output } = await start({ DATA_DIR, REGISTRY_SECRET: secret }, 'src/local/password.ts');
    expect((await fetch(`${registry.url}/v2/`, { headers: basic(output.trim()) })).status).toBe(200);
    expect(await start({ DATA_DIR }, 'src/local/password.ts')).toMatchObject({ code: 1 });
  });

  test('says that other machines can connect, and what docker needs there', () => {
    const output = registry.output();
    expect(output).toContain('Warning: other machines can connect, without TLS.');
    expect(output).toContain(`Berth is ready at ${registry.url}`);
    const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    for (const { address } of own.filter(({ internal, family }) => !internal && family === 'IPv4')) {
      expect(output).toContain(`http://${address}:${new URL(registry.url).port}`);
    }
    expect(output).toMatch(/"insecure-registries": \["[\w.:]+"\]/);
  });

  test('cannot be repeated with another secret', { tags: 'slow' }, async () => {
    await interrupted(registry);
    const env = { DATA_DIR: join(parent, 'new'), PORT: new URL(registry.url).port };
    const ended = await start({ ...env, REGISTRY_SECRET: 'another-secret-of-the-tests-0123456789' });
    expect(ended).toMatchObject({ code: 1, output: expect.stringContaining('the database belongs to another registry') });
    expect(ended.output).not.toContain('    at ');
  });
});

/** Ends the program like Ctrl-C. @returns its exit code */
function interrupted(registry: Registry): Promise<number | null> {
  const ended = new Promise<number | null>((resolve) => registry.process.once('exit', resolve));
  registry.process.kill('SIGINT');
  return ended;
}

/** Kills the program, but not its runtime. */
async function killed(registry: Registry): Promise<void> {
  const gone = new Promise((resolve) => registry.process.once('exit', resolve));
  registry.process.kill('SIGKILL');
  await gone;
}

describe('a registry that ended', () => {
  let registry: Registry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry.stop());
  const runtime = async () => Number(await readFile(join(registry.dataDir, 'runtime.pid'), 'utf8'));
  const login = async () => (await fetch(`${registry.url}/v2/`, { headers: basic(registry.password) })).status;

  test('by Ctrl-C ends cleanly, and pushed content is there after the next start', async () => {
    const headers = basic(registry.password);
    const body = 'kept';
    const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
    const uploads = `${registry.url}/v2/acme/api/blobs/uploads/`;
    expect((await fetch(`${uploads}?digest=${digest}`, { method: 'POST', headers, body })).status).toBe(201);
    expect(await interrupted(registry)).toBe(0);
    await registry.restart();
    const pulled = await fetch(`${registry.url}/v2/acme/api/blobs/${digest}`, { headers });
    expect(await pulled.text()).toBe(body);
  });

  test('because its program was killed leaves its runtime, which the next start ends', { tags: 'slow' }, async () => {
    await killed(registry);
    expect((await fetch(`${registry.url}/v2/`)).status, 'the runtime outlives its program').toBe(401);
    const left = await runtime();
    await registry.restart();
    expect(() => process.kill(left, 0)).toThrow();
    expect(await login()).toBe(200);
  });

  test('because its runtime was killed gets another one, which a start after a kill ends too', { tags: 'slow' }, async () => {
    const first = await runtime();
    process.kill(first, 'SIGKILL');
    await expect.poll(runtime, { timeout: 20_000 }).not.toBe(first);
    expect(await login()).toBe(200);
    expect(registry.output()).toContain('The runtime ended unexpectedly and was started again.');
    const second = await runtime();
    await killed(registry);
    await registry.restart();
    expect(() => process.kill(second, 0)).toThrow();
  });
});

test('a left-over runtime that exits between the check and the kill does no harm', { tags: 'slow' }, async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'berth-'));
  const bin = join(dataDir, 'bin');
  await mkdir(bin);
  // This `ps` still lists a process that has exited.
  const gone = 4_000_000;
  await writeFile(
    join(bin, 'ps'),
    `#!/bin/sh\nn=$(cat ${bin}/n 2>/dev/null || echo 0)\necho $((n + 1)) > ${bin}/n\n[ $n -lt 1 ] && echo "${gone} 1 workerd serve"\nexit 0\n`,
  );
  await chmod(join(bin, 'ps'), 0o755);
  await writeFile(join(dataDir, 'runtime.pid'), `${gone}\n`);
  const registry = await startRegistry({ env: { DATA_DIR: dataDir, PATH: `${bin}:${process.env.PATH}` } });
  expect((await fetch(`${registry.url}/v2/`, { headers: basic(registry.password) })).status).toBe(200);
  await registry.stop();
  await rm(dataDir, { recursive: true, force: true });
});
