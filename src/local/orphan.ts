/**
 * Ends a runtime that outlived its registry. The runtime is a process of its own: if this process is killed, it keeps listening
 * and writing to the data. Its process id is kept beside the data, and the next start ends it first.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const RUNTIME = 'workerd';
const GONE_WITHIN_MS = 5000;

interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** Saves the runtime's process id. Call it when the runtime is up, and again when it was replaced. */
export function rememberRuntime(dataDir: string): void {
  const mine = processes().filter(({ parent, command }) => parent === process.pid && command.includes(RUNTIME));
  writeFileSync(fileIn(dataDir), mine.map(({ pid }) => `${pid}\n`).join(''));
}

/** Ends the runtime that an earlier start left. The caller holds the folder's lock, so the runtime is nobody else's. */
export async function endOrphan(dataDir: string): Promise<void> {
  const orphans = () => processes().filter(({ pid, command }) => known.includes(pid) && command.includes(RUNTIME));
  const known = rememberedIn(dataDir);
  if (known.length === 0) return;
  for (const { pid } of orphans()) kill(pid);
  for (let waited = 0; orphans().length > 0 && waited < GONE_WITHIN_MS; waited += 50) await sleep(50);
}

/** Ignores a process that ended by itself in the meantime. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function rememberedIn(dataDir: string): number[] {
  try {
    return readFileSync(fileIn(dataDir), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function fileIn(dataDir: string): string {
  return join(dataDir, 'runtime.pid');
}

/** The processes by POSIX `ps`. Without it (Windows, a minimal container) nothing is saved and nothing is ended. */
function processes(): Process[] {
  try {
    const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 }).split(
      '\n',
    );
    return lines.flatMap((line) => {
      const match = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line);
      return match ? [{ pid: Number(match[1]), parent: Number(match[2]), command: match[3] ?? '' }] : [];
    });
  } catch {
    return [];
  }
}
