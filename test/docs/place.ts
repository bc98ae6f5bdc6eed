/** A fresh copy of the source code, as a new user has it, and the registry that a block starts there. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endGroup } from './shell.ts';

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 15_000;

/** An `npm` that skips `npm install`, because the packages are installed already. */
const NPM = (npm: string) => `#!/bin/sh
[ "$*" = install ] && exit 0
exec ${npm} "$@"
`;

export interface Place {
  folder: string;
  env: Record<string, string>;
  /** Runs a command that starts the registry, and waits until it answers. */
  start(command: string): Promise<void>;
  stop(): Promise<void>;
  remove(): Promise<void>;
}

/** @param port the port on which the registry listens */
export function newPlace(root: string, port: number, env: Record<string, string>): Place {
  const folder = mkdtempSync(join(tmpdir(), 'berth-docs-'));
  const copy = join(folder, 'berth');
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0').filter(Boolean);
  for (const file of files) {
    mkdirSync(join(copy, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(copy, file));
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  mkdirSync(join(folder, 'bin'));
  const npm = execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim();
  writeFileSync(join(folder, 'bin', 'npm'), NPM(npm));
  chmodSync(join(folder, 'bin', 'npm'), 0o755);
  const own = { ...env, HOME: folder, PATH: `${folder}/bin:${env.PATH}` };
  let server: ChildProcess | undefined;
  return {
    folder: copy,
    env: own,
    async start(command) {
      server = spawn('bash', ['-c', command], {
        cwd: copy,
        env: { ...own, PORT: String(port) },
        detached: true,
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      await answers(port, server);
    },
    async stop() {
      if (!server) return;
      const [ending] = [server];
      server = undefined;
      // Ends it as Ctrl-C does.
      endGroup(ending.pid, 'SIGINT');
      const exited = new Promise((resolve) => ending.once('exit', resolve));
      if (ending.exitCode === null) await Promise.race([exited, sleep(STOP_WITHIN_MS)]);
      endGroup(ending.pid);
    },
    async remove() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function answers(port: number, server: ChildProcess): Promise<void> {
  for (const until = Date.now() + READY_WITHIN_MS; Date.now() < until && server.exitCode === null; await sleep(100)) {
    const status = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      ({ status: one }) => one,
      () => null,
    );
    if (status === 401) return;
  }
  throw new Error(`the registry does not answer on port ${port}`);
}
