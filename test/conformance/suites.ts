/**
 * The two official conformance suites of the OCI Distribution Specification: the current one, which is a program, and that of
 * November 2023, which is a Go test package. Finds them or builds them with Go, and runs them. Nothing here depends on Berth.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Target } from '../world/registry.ts';
import type { Item, Totals } from './junit.ts';
import { count, parseItems, statedTotals } from './junit.ts';

export interface Result {
  items: Item[];
  totals: Totals;
  /** Folder of the suite's reports. */
  folder: string;
}

export interface Suite {
  name: string;
  /** The versions of the specification that it supports. */
  versions: string[];
  run(version: string, target: Target): Promise<Result>;
}

const MODULE = 'github.com/opencontainers/distribution-spec/conformance';
const CURRENT = `${MODULE}@v0.0.0-20260716174315-967efdc079b9`;
const OF_2023 = 'v0.0.0-20231101194043-f2182352d4cc';
// The checksum database does not know this version everywhere; these sums are those of commit f2182352d4cc itself.
const SUMS_OF_2023 = [
  `${MODULE} ${OF_2023} h1:jL+CgYEEZluGb08ZcLpEyhn389kNMlwrWOHaIqXazq0=`,
  `${MODULE} ${OF_2023}/go.mod h1:odnkI+gfnNSdq8NaG/nKvENDEWkXAjjbgp8GKMllVSI=`,
];
const RUN_WITHIN_MS = 15 * 60_000;

/** The current suite. `null` if it is not installed and cannot be built. */
export async function currentSuite(): Promise<Suite | null> {
  const program = (await findCurrent()) ?? (await installCurrent());
  if (program === null) return null;
  return {
    name: 'current',
    versions: ['1.1', 'dev'],
    async run(version, target) {
      const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
      const env = { ...currentSettings(target), OCI_VERSION: version, OCI_RESULTS_DIR: folder };
      const xml = await runToJunit(program, [], env, folder);
      return { items: parseItems(xml), totals: statedTotals(xml), folder };
    },
  };
}

export async function suiteOf2023(): Promise<Suite> {
  const program = await build2023();
  return {
    name: '2023-11',
    versions: ['1.1'],
    async run(_version, target) {
      const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
      const xml = await runToJunit(program, [], settingsOf2023(target, folder), folder);
      const items = parseItems(xml).filter((item) => item.name.startsWith('[It]'));
      return { items, totals: count(items), folder };
    },
  };
}

function currentSettings(target: Target): Record<string, string> {
  return {
    OCI_REGISTRY: target.host,
    OCI_TLS: 'disabled',
    OCI_REPO1: 'conformance/repo1',
    OCI_REPO2: 'conformance/repo2',
    OCI_USERNAME: target.username,
    OCI_PASSWORD: target.password,
    OCI_LOG: 'error',
    OCI_API_BLOBS_DIGEST_HEADER: 'true',
    OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
    OCI_API_BLOBS_MOUNT_ANONYMOUS: 'true',
    OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
    OCI_API_MANIFESTS_TAG_PARAM: 'true',
    OCI_DATA_SHA512: 'true',
    OCI_DATA_SPARSE: process.env.CONFORMANCE_SPARSE || 'false',
  };
}

function settingsOf2023(target: Target, folder: string): Record<string, string> {
  return {
    OCI_ROOT_URL: `http://${target.host}`,
    OCI_NAMESPACE: 'conformance/repo1',
    OCI_CROSSMOUNT_NAMESPACE: 'conformance/repo2',
    OCI_USERNAME: target.username,
    OCI_PASSWORD: target.password,
    OCI_TEST_PULL: '1',
    OCI_TEST_PUSH: '1',
    OCI_TEST_CONTENT_DISCOVERY: '1',
    OCI_TEST_CONTENT_MANAGEMENT: '1',
    OCI_AUTOMATIC_CROSSMOUNT: '1',
    OCI_HIDE_SKIPPED_WORKFLOWS: '0',
    OCI_REPORT_DIR: folder,
  };
}

/** Runs a suite in its results folder. It exits with 1 when something failed, so only a missing report is an error. */
async function runToJunit(program: string, args: string[], env: Record<string, string>, folder: string) {
  const { output } = await run(program, args, { env, cwd: folder });
  await writeFile(join(folder, 'output.txt'), output);
  const report = join(folder, 'junit.xml');
  if (!existsSync(report)) throw new Error(`${program} left no ${report}; it printed:\n${output.slice(-4000)}`);
  return readFile(report, 'utf8');
}

async function findCurrent(): Promise<string | null> {
  const chosen = process.env.CONFORMANCE_BIN;
  if (chosen) {
    if (!isExecutable(chosen)) throw new Error(`CONFORMANCE_BIN: ${chosen} is not an executable`);
    return chosen;
  }
  const folders = [...(await goFolders()), ...(process.env.PATH ?? '').split(delimiter)];
  return folders.map((folder) => join(folder, 'conformance')).find(isExecutable) ?? null;
}

async function installCurrent(): Promise<string | null> {
  const { code, output } = await run('go', ['install', CURRENT]);
  if (code === 0) return findCurrent();
  const reason = output.trim().split('\n').at(-1) ?? '';
  console.log(`go install ${CURRENT}: ${reason}`);
  return null;
}

async function goFolders(): Promise<string[]> {
  const { code, output } = await run('go', ['env', 'GOBIN', 'GOPATH']);
  const [bin = '', paths = ''] = output.split('\n');
  const folders = [bin, ...paths.split(delimiter).map((path) => path && join(path, 'bin'))];
  return code === 0 ? folders.filter((folder) => folder !== '') : [];
}

/** Builds the suite of 2023 into the user's cache folder, if it is not there yet. */
async function build2023(): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'berth');
  const program = join(cache, `conformance-${OF_2023}`);
  if (isExecutable(program)) return program;
  const folder = await mkdtemp(join(tmpdir(), 'conformance-build-'));
  try {
    await mkdir(cache, { recursive: true });
    await writeFile(join(folder, 'go.mod'), 'module conformance.test\n\ngo 1.21\n');
    await writeFile(join(folder, 'go.sum'), `${SUMS_OF_2023.join('\n')}\n`);
    await go(folder, ['get', '-t', `${MODULE}@${OF_2023}`]);
    await go(folder, ['test', '-c', '-o', program, MODULE]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return program;
}

async function go(cwd: string, args: string[]): Promise<void> {
  const { code, output } = await run('go', args, { cwd });
  if (code !== 0) throw new Error(`go ${args.join(' ')} failed:\n${output.slice(-2000)}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
}

function run(program: string, args: string[], options: RunOptions = {}): Promise<{ code: number; output: string }> {
  const child = spawn(program, args, {
    cwd: options.cwd ?? tmpdir(),
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // The timer of `timeout` keeps this program alive if the program to run does not exist.
    signal: AbortSignal.timeout(RUN_WITHIN_MS),
  });
  let output = '';
  const keep = (piece: Buffer) => {
    output += piece.toString();
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 127, output: `${output}${error.message}\n` }));
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}
