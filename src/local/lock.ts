/**
 * One registry a data folder. The lock is a listening socket: the system lets go of it with its process, however that
 * ends, so there is never a stale lock to remove by hand.
 */
import { createHash } from 'node:crypto';
import { realpathSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StartError } from './options.ts';

/** @throws StartError where another process holds the folder */
export async function lockFolder(dataDir: string): Promise<void> {
  const name = `berth-${createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 24)}`;
  const path = process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : join(tmpdir(), `${name}.lock`);
  if (await listens(path)) return;
  // Taken, or left behind by a process that was killed: only a living one answers.
  if (!(await answers(path))) rmSync(path, { force: true });
  if (await listens(path)) return;
  throw new StartError(`A registry is already running on ${dataDir}. Stop it first, or set DATA_DIR to another folder.`);
}

/** Whether the lock is ours now. */
function listens(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.end());
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)));
    server.listen(path, () => {
      server.unref();
      process.once('exit', () => rmSync(path, { force: true }));
      resolve(true);
    });
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
