/** `npm run deploy` migrates before it deploys, with a wrangler that only records its arguments. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
let bin: string;

beforeEach(() => {
  bin = mkdtempSync(join(tmpdir(), 'berth-'));
});
afterEach(() => rmSync(bin, { recursive: true }));

/** @param script the shell script that replaces wrangler; `$*` are the arguments of wrangler */
function deploy(script: string, ...parameters: string[]): { status: number | null; asked: string[]; output: string } {
  const notes = join(bin, 'notes');
  writeFileSync(join(bin, 'wrangler'), `#!/bin/sh\necho "$*" >> ${notes}\n${script}\n`);
  chmodSync(join(bin, 'wrangler'), 0o755);
  const { status, stdout, stderr } = spawnSync(process.execPath, ['src/local/deploy.ts', ...parameters], {
    cwd: ROOT,
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
    encoding: 'utf8',
  });
  const asked = existsSync(notes) ? readFileSync(notes, 'utf8').trim().split('\n') : [];
  return { status, asked, output: stdout + stderr };
}

const LOOK = 'd1 info DB --json';
const MIGRATE = 'd1 migrations apply DB --remote';

test('the database is migrated first, and the parameters are those of the deployment', () => {
  const { status, asked } = deploy('exit 0', '--env', 'staging');
  expect({ status, asked }).toEqual({ status: 0, asked: [LOOK, MIGRATE, 'deploy --env staging'] });
});

test('the first deployment makes the database, which is migrated after it', () => {
  const script = `[ "$2" = info ] && { echo "Couldn't find a D1 DB named 'berth-db'" >&2; exit 1; }; exit 0`;
  const { status, asked } = deploy(script);
  expect({ status, asked }).toEqual({ status: 0, asked: [LOOK, 'deploy', MIGRATE] });
});

test('nothing is deployed after a migration that failed', () => {
  const { status, asked } = deploy('[ "$2" = migrations ] && exit 3; exit 0');
  expect({ status, asked }).toEqual({ status: 3, asked: [LOOK, MIGRATE] });
});

test('nothing is done if wrangler cannot be asked about the database', () => {
  const { status, asked, output } = deploy('echo "You are not logged in" >&2; exit 1');
  expect({ status, asked }).toEqual({ status: 1, asked: [LOOK] });
  expect(output).toContain('You are not logged in');
  expect(output).toContain('Nothing was deployed');
});
