/** Starts and stops the programs with which the registry is compared. Each has an empty data folder. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export interface Host {
  url: string;
  stop(): Promise<void>;
}

const BARE_HOST = fileURLToPath(new URL('bare-host.ts', import.meta.url));
const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 5_000;

const DISTRIBUTION = 'github.com/distribution/distribution/v3/cmd/registry';
const DISTRIBUTION_VERSION = 'v3.1.2';
const OF_DEBIAN = '/usr/bin/docker-registry';

export async function startBare(): Promise<Host & { group: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'bare-'));
  const { child, stop } = launch(process.execPath, [BARE_HOST, folder], folder);
  for await (const line of createInterface({ input: child.stdout })) return { url: line, stop, group: child.pid ?? 0 };
  await stop();
  throw new Error('the bare Worker did not start');
}

/**
 * Starts CNCF Distribution: built with Go at the first run, or otherwise from the package of Debian. Returns `null` if neither
 * is available.
 */
export async function startDistribution(): Promise<(Host & { version: string }) | null> {
  const program = await findDistribution();
  if (program === null) return null;
  const folder = await mkdtemp(join(tmpdir(), 'distribution-'));
  const address = `127.0.0.1:${await freePort()}`;
  const settings = join(folder, 'config.yml');
  await writeFile(settings, settingsOf(folder, address));
  const { stop } = launch(program.path, ['serve', settings], folder);
  const url = `http://${address}`;
  if (await answers(`${url}/v2/`)) return { url, stop, version: program.version };
  await stop();
  throw new Error('distribution did not start');
}

/**
 * Returns the configuration of CNCF Distribution: its example, without a request log. Clients need no login, because with
 * htpasswd every request would compute a bcrypt hash.
 */
function settingsOf(folder: string, address: string): string {
  return `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: '${join(folder, 'data')}' }
  cache: { blobdescriptor: inmemory }
http: { addr: '${address}' }
`;
}

async function findDistribution(): Promise<{ path: string; version: string } | null> {
  const folder = join(tmpdir(), `berth-bench-distribution-${DISTRIBUTION_VERSION}`);
  const path = join(folder, 'registry');
  if (!existsSync(path)) await install(folder);
  if (existsSync(path)) return { path, version: DISTRIBUTION_VERSION };
  if (!existsSync(OF_DEBIAN)) return null;
  const { stdout } = await promisify(execFile)(OF_DEBIAN, ['--version']);
  return { path: OF_DEBIAN, version: stdout.trim().split(' ').at(-1) ?? '' };
}

async function install(folder: string): Promise<void> {
  const module = `${DISTRIBUTION}@${DISTRIBUTION_VERSION}`;
  console.error(`building ${module}, which takes a minute or two the first time`);
  await mkdir(folder, { recursive: true });
  const env = { ...process.env, GOBIN: folder, GOFLAGS: '' };
  await promisify(execFile)('go', ['install', module], { cwd: folder, env }).catch((error: Error) => {
    console.error(`it cannot be built: ${error.message.slice(0, 300)}`);
  });
}

/** Starts a program as the leader of a process group, so that the processes that it starts can be killed with it. */
export function launch(program: string, args: string[], folder: string, variables: Record<string, string> = {}) {
  const env = { ...process.env, OTEL_TRACES_EXPORTER: 'none', ...variables };
  const child = spawn(program, args, { env, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const clear = () => {
    killGroup(child);
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', clear);
  const stop = async () => {
    child.kill('SIGINT');
    await Promise.race([exited, sleep(STOP_WITHIN_MS, undefined, { ref: false })]);
    clear();
    process.off('exit', clear);
  };
  return { child, stop };
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // The error means that no process of the group is left.
  }
}

async function answers(url: string): Promise<boolean> {
  for (const deadline = Date.now() + READY_WITHIN_MS; Date.now() < deadline; await sleep(100)) {
    const response = await fetch(url).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok) return true;
  }
  return false;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port to listen on');
  return address.port;
}
