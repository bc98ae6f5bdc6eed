/**
 * Fetches the source of cloudflare/serverless-registry, another registry on Workers and R2. It is not part of this project: it
 * is cloned into a temporary folder and used from there.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const REPOSITORY = 'https://github.com/cloudflare/serverless-registry';
/** The commit to compare with, of 17 June 2026. */
const COMMIT = '5f97b0ec60179337d01e5f69df944bef088396c9';
const FOLDER = join(tmpdir(), `berth-bench-serverless-registry-${COMMIT.slice(0, 12)}`);
const WRAPPER = fileURLToPath(new URL('../workers/delayed.ts', import.meta.url));

/** The compatibility date and flags in its example configuration. */
export const PEER_COMPATIBILITY = { compatibilityDate: '2024-09-09', compatibilityFlags: ['nodejs_compat'] };

/** Entry files of the peer. The emulator calls the bucket `BLOBS`, and the peer calls it `REGISTRY`. */
const ENTRIES = {
  /** With calls that can be delayed and are counted. */
  delayed: [
    `import worker from './index.ts';`,
    `import { delayed } from '${WRAPPER}';`,
    // The peer logs a line for each request without credentials. This turns that off.
    'console.warn = () => undefined;',
    `export default delayed(worker, { d1: 'DB', r2: 'REGISTRY' });`,
  ],
  /** As it is. */
  plain: [
    `import worker from './index.ts';`,
    'console.warn = () => undefined;',
    'const fetch = (request, { BLOBS, ...env }, context) => worker.fetch(request, { ...env, REGISTRY: BLOBS }, context);',
    'export default { fetch };',
  ],
};

/**
 * Returns the path of an entry file of the peer, or `null` if its source cannot be fetched.
 * @param source the URL of a repository to clone instead of the one at GitHub
 */
export async function peerEntry(source = REPOSITORY, kind: keyof typeof ENTRIES = 'delayed'): Promise<string | null> {
  if (!existsSync(FOLDER) && !(await clone(source))) return null;
  const entry = join(FOLDER, `${kind}.ts`);
  await writeFile(entry, `${ENTRIES[kind].join('\n')}\n`);
  return entry;
}

/** Clones the peer and installs its packages. @returns false if this failed */
async function clone(source: string): Promise<boolean> {
  const folder = await mkdtemp(`${FOLDER}-`);
  const run = (program: string, ...args: string[]) => promisify(execFile)(program, args, { cwd: folder });
  try {
    await run('git', 'clone', '--quiet', source, '.');
    await run('git', 'checkout', '--quiet', COMMIT);
    await run('npm', 'install', '--omit=dev', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund');
    await rename(folder, FOLDER);
    return true;
  } catch (error) {
    console.error(`serverless-registry cannot be fetched: ${(error as Error).message.slice(0, 300)}`);
    await rm(folder, { recursive: true, force: true });
    return false;
  }
}
