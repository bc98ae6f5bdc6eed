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

/**
 * Returns the path of the peer's entry file with delayed calls, or `null` if its source cannot be fetched. @param source the
 * URL of a repository to clone instead of the one at GitHub
 */
export async function peerEntry(source = REPOSITORY): Promise<string | null> {
  const entry = join(FOLDER, 'delayed.ts');
  if (existsSync(entry)) return entry;
  const folder = await mkdtemp(`${FOLDER}-`);
  const run = (program: string, ...args: string[]) => promisify(execFile)(program, args, { cwd: folder });
  try {
    await run('git', 'clone', '--quiet', source, '.');
    await run('git', 'checkout', '--quiet', COMMIT);
    await run('npm', 'install', '--omit=dev', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund');
    const lines = [
      `import worker from './index.ts';`,
      `import { delayed } from '${WRAPPER}';`,
      // The peer logs a line for each request without credentials. This turns that off.
      'console.warn = () => undefined;',
      `export default delayed(worker, { d1: 'DB', r2: 'REGISTRY' });`,
    ];
    await writeFile(join(folder, 'delayed.ts'), `${lines.join('\n')}\n`);
    await rename(folder, FOLDER);
    return entry;
  } catch (error) {
    console.error(`serverless-registry cannot be fetched: ${(error as Error).message.slice(0, 300)}`);
    await rm(folder, { recursive: true, force: true });
    return null;
  }
}
