/**
 * Runs every block of commands of README.md and docs/*.md unchanged (`node test/docs/run.ts [PAGE...]`), in bash and in zsh.
 * For each page and shell, the blocks run in order in a fresh copy of the source code with a fresh registry. Only port numbers
 * are replaced, if a port is in use.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { exitOnSignals, freePort } from '../world/registry.ts';
import { type Block, blocksOf, hasComment } from './blocks.ts';
import { type Docker, startDocker } from './docker.ts';
import { newPlace, type Place } from './place.ts';
import { openShell, SHELLS, type ShellName } from './shell.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEFAULT_START = 'npm start';
const OUTPUT_SHOWN = 3000;
/** The ports in the pages: that of the registry, and that of the receiver of webhooks. */
const [REGISTRY_PORT, RECEIVER_PORT] = [8787, 9000];

const count = { passed: 0, failed: 0, skipped: 0 };
exitOnSignals();
const named = process.argv.slice(2);
const pages = named.length > 0 ? named : ['README.md', ...readdirSync(`${ROOT}/docs`).map((name) => `docs/${name}`)];
const all = pages.filter((page) => page.endsWith('.md')).map((page) => blocksOf(ROOT, page));
const notHere = all.flat().filter(({ kind }) => kind === 'cloudflare' || kind === 'elsewhere');
for (const { place, kind } of notHere) skip(place, kind === 'cloudflare' ? 'needs a Cloudflare account' : 'not run here');
const ports = { registry: await freeOr(REGISTRY_PORT), receiver: await freeOr(RECEIVER_PORT) };
const docker = await startDocker().catch((error: Error) => missing('docker', error.message));
for (const program of ['curl', 'jq']) if (!has(program)) missing(program, 'it is not installed');
try {
  for (const shell of SHELLS) {
    if (!has(shell)) missing(shell, 'it is not installed');
    else for (const blocks of all) await runPage(blocks, shell);
  }
} finally {
  await docker?.stop();
}
console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
process.exitCode = count.failed === 0 && count.passed > 0 ? 0 : 1;

async function runPage(blocks: readonly Block[], shell: ShellName): Promise<void> {
  const mine = blocks.filter((block) => !notHere.includes(block));
  if (mine.length === 0) return;
  await docker?.forgetImages();
  const place = newPlace(ROOT, ports.registry, environment(docker));
  const session = openShell(shell, place.folder, { ...place.env, RECEIVER_PORT: String(ports.receiver) });
  try {
    await runBlocks(mine, shell, place, (text) => session.paste(text));
  } finally {
    session.end();
    await place.stop();
    await place.remove();
  }
}

type Paste = (text: string) => Promise<{ failed: boolean; output: string }>;

async function runBlocks(blocks: readonly Block[], shell: ShellName, place: Place, paste: Paste): Promise<void> {
  let command = DEFAULT_START;
  let runs = false;
  let lacksDocker = false;
  for (const block of blocks) {
    const name = `${block.place} (${shell})`;
    lacksDocker ||= block.usesDocker && !docker;
    if (lacksDocker) {
      skip(name, 'needs docker, or what a block before it pushed');
      continue;
    }
    const text = withPorts(block.text);
    if (block.kind === 'server') command = text;
    const wantsServer = block.kind !== 'stopped';
    try {
      if (runs && !wantsServer) await place.stop();
      if (!runs && wantsServer) await place.start(command);
      runs = wantsServer;
      const { failed, output } = block.kind === 'server' ? { failed: false, output: '' } : await paste(text);
      tell(name, failed || hasComment(block), output);
    } catch (error) {
      tell(name, true, String(error));
    }
  }
}

function tell(name: string, failed: boolean, output: string): void {
  if (failed) count.failed++;
  else count.passed++;
  console.log(`${name}: ${failed ? 'FAIL' : 'ok'}`);
  if (failed || process.env.DOCS_VERBOSE) console.log(output.slice(-OUTPUT_SHOWN).replaceAll(/^/gm, '    '));
}

function skip(name: string, reason: string): void {
  count.skipped++;
  console.log(`${name}: skipped (${reason})`);
}

/** Skips something for which a program is missing. In CI this is an error. */
function missing(what: string, reason: string): undefined {
  if (!process.env.CI) return skip(what, reason) as undefined;
  return tell(what, true, reason) as undefined;
}

/** True if a program is available. Root on Debian installs a missing program. */
function has(program: string): boolean {
  const isThere = () => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
  if (isThere() || process.getuid?.() !== 0) return isThere();
  console.log(`installing ${program}`);
  spawnSync('sh', ['-c', `apt-get update -qq && apt-get install -y -qq ${program} >&2`], { stdio: 'inherit' });
  return isThere();
}

/** The environment of a user's shell, without settings of the registry. */
function environment(engine: Docker | undefined): Record<string, string> {
  const { PATH = '', LANG = 'C.UTF-8' } = process.env;
  return { PATH, LANG, TERM: 'dumb', ...engine?.env };
}

function withPorts(text: string): string {
  return text
    .replaceAll(`127.0.0.1:${REGISTRY_PORT}`, `127.0.0.1:${ports.registry}`)
    .replaceAll(`127.0.0.1:${RECEIVER_PORT}`, `127.0.0.1:${ports.receiver}`);
}

async function freeOr(port: number): Promise<number> {
  const taken = await fetch(`http://127.0.0.1:${port}/`).then(
    () => true,
    (error) => error.cause?.code !== 'ECONNREFUSED',
  );
  if (!taken) return port;
  const other = await freePort();
  console.log(`port ${port} is taken: ${other} is used instead`);
  return other;
}
