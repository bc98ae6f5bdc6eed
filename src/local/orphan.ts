/**
 * Ends a runtime process (workerd) that an earlier start left running. The runtime is a separate process. If this process is
 * killed, the runtime continues to listen and to write data. Therefore its process id is saved in the data folder, and the next
 * start ends that process first.
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

/** Saves the process id of the runtime. Must be called when the runtime has started, and again when it was replaced. */
export function rememberRuntime(dataDir: string): void {
  const mine = processes().filter(({ parent, command }) => parent === process.pid && command.includes(RUNTIME));
  writeFileSync(fileIn(dataDir), mine.map(({ pid }) => `${pid}\n`).join(''));
}

/**
 * Ends the runtime that an earlier start left running. The caller holds the lock of the folder, so no running registry uses
 * that runtime.
 */
export async function endOrphan(dataDir: string): Promise<void> {
  const orphans = () => processes().filter(({ pid, command }) => known.includes(pid) && command.includes(RUNTIME));
  const known = rememberedIn(dataDir);
  if (known.length === 0) return;
  for (const { pid } of orphans()) kill(pid);
  for (let waited = 0; orphans().length > 0 && waited < GONE_WITHIN_MS; waited += 50) await sleep(50);
}

/** Kills a process. Does nothing if the process has already ended. */
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

/** Returns all processes as listed by POSIX `ps`. Without `ps` (Windows, a minimal container), returns an empty list. */
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
