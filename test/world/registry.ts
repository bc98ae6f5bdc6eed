/**
 * Starts the registry as a user does (`node src/local/start.ts`), on a free port and with a data folder of its own, for tests
 * of the whole program. This code runs in Node, never in the Worker.
 */

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export type Verify = 'storage' | 'stream';

export interface RegistryOptions {
  verify?: Verify;
  /** Additional settings of the program. They override the settings of this helper. */
  env?: Record<string, string>;
}

/** The address of a registry to test, and the credentials of a user with all rights. */
export interface Target {
  /** HOST:PORT, as in the name of an image. */
  readonly host: string;
  readonly username: string;
  readonly password: string;
}

export interface Registry extends Target {
  readonly url: string;
  readonly dataDir: string;
  readonly process: ChildProcess;
  /** Returns the output of the program up to now: standard output and standard error together. */
  output(): string;
  /** Ends the program like Ctrl-C, waits until it has ended, and removes its data. */
  stop(): Promise<void>;
  /** Kills the program and all its processes at once. The data are kept. */
  kill9(): Promise<void>;
  /** Starts the program again on the same data and port. Ends it first if it still runs. */
  /** @param between called while it is stopped */
  restart(between?: () => Promise<void>): Promise<void>;
}

interface Program {
  child: ChildProcess;
  exited: Promise<void>;
  output: string;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const START = 'src/local/start.ts';
const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 15_000;
const GROUP_GONE_WITHIN_MS = 2000;
const OUTPUT_LIMIT = 1_000_000;

export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const port = await freePort();
  const dataDir = await mkdtemp(join(tmpdir(), 'berth-'));
  const password = randomBytes(18).toString('base64url');
  const host = `127.0.0.1:${port}`;
  const env = {
    PORT: String(port),
    HOST: '127.0.0.1',
    DATA_DIR: dataDir,
    ADMIN_PASSWORD: password,
    VERIFY: options.verify ?? 'storage',
    ...options.env,
  };
  let program = await launch(env, host).catch(async (error: unknown) => {
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  });
  return {
    url: `http://${host}`,
    host,
    username: 'admin',
    password,
    dataDir,
    get process() {
      return program.child;
    },
    output: () => program.output,
    async stop() {
      await interrupt(program);
      await rm(dataDir, { recursive: true, force: true });
    },
    kill9: () => kill(program),
    async restart(between) {
      await interrupt(program);
      await between?.();
      program = await launch(env, host);
    },
  };
}

/**
 * Returns the registry in the environment variables REGISTRY, REGISTRY_USERNAME and REGISTRY_PASSWORD, or `null` if there is
 * none.
 */
export function registryFromEnv(): Target | null {
  const { REGISTRY: host, REGISTRY_USERNAME: username = '', REGISTRY_PASSWORD: password = '' } = process.env;
  return host === undefined || host === '' ? null : { host, username, password };
}

/** Makes signals end this process with the event `exit`, so that a program that uses this helper leaves no registry running. */
export function exitOnSignals(): void {
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
}

async function launch(env: Record<string, string>, host: string): Promise<Program> {
  const program = run(env);
  const error = await waitUntilReady(program, host);
  if (error === null) return program;
  await kill(program);
  throw new Error(`${START} ${error}; it printed:\n${program.output}`);
}

/** Starts the program as the leader of a process group, so that its runtime can be killed with it. */
function run(env: Record<string, string>): Program {
  const child = spawn(process.execPath, [START], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killWithMe = () => killGroup(child);
  process.once('exit', killWithMe);
  const exited = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('exit', () => resolve());
  }).then(() => {
    process.off('exit', killWithMe);
  });
  const program: Program = { child, exited, output: '' };
  const keep = (piece: Buffer) => {
    program.output = (program.output + piece.toString()).slice(-OUTPUT_LIMIT);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  return program;
}

/** Waits until the registry asks for credentials. @returns the error, or `null` if there is none */
async function waitUntilReady(program: Program, host: string): Promise<string | null> {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (Date.now() < deadline) {
    if (hasExited(program.child)) return `ended with exit code ${program.child.exitCode}`;
    // An answer alone does not suffice: the program must also have printed that it is ready.
    if (program.output.includes('is ready at') && (await statusOf(`http://${host}/v2/`)) === 401) return null;
    await sleep(100);
  }
  return `did not answer GET /v2/ with 401 within ${READY_WITHIN_MS / 1000} s`;
}

async function statusOf(url: string): Promise<number | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return null;
  }
}

async function interrupt(program: Program): Promise<void> {
  if (!hasExited(program.child)) program.child.kill('SIGINT');
  await Promise.race([program.exited, sleep(STOP_WITHIN_MS, undefined, { ref: false })]);
  await kill(program);
}

async function kill(program: Program): Promise<void> {
  killGroup(program.child);
  await program.exited;
  const deadline = Date.now() + GROUP_GONE_WITHIN_MS;
  while (killGroup(program.child) && Date.now() < deadline) await sleep(20);
}

function hasExited(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Kills all processes of a group. Returns false if none is left. */
function killGroup(child: ChildProcess): boolean {
  if (child.pid === undefined) return false;
  try {
    return process.kill(-child.pid, 'SIGKILL');
  } catch {
    return false;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port to listen on');
  return address.port;
}
