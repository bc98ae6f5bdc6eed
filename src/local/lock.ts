/**
 * Makes the data folder private to the user who starts the registry, and allows only one running registry for each data folder.
 * The folder contains the secret, the database and the layers. If it were readable, other users of the machine could bypass the
 * access control of the registry.
 *
 * The lock is a listening socket. The operating system releases it whenever the process ends, so there are no stale locks. The
 * socket is in the private part of the folder, where no other user can take or imitate it.
 */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { StartError } from './start-error.ts';

/** The maximum number of bytes of a socket path that every system accepts (`sun_path`: 104 on macOS, 108 on Linux). */
const PATH_MAX = 100;

/** Takes the lock of the data folder until this process ends. @throws StartError if another process holds the lock */
export async function lockFolder(dataDir: string): Promise<void> {
  const { path, remove } = socketPath(dataDir);
  process.once('exit', remove);
  if (await listens(path)) return;
  // The path exists. If a running process owns the socket, it answers. If its process was killed, nothing answers and the file
  // is removed.
  if (!(await answers(path))) rmSync(path, { force: true });
  if (await listens(path)) return;
  throw new StartError(`A registry is already running on ${dataDir}. Stop it first, or set DATA_DIR to another folder.`);
}

/** Returns the path of the lock's socket. If the path would be too long, a temporary symbolic link shortens it. */
function socketPath(dataDir: string): { path: string; remove: () => void } {
  if (process.platform === 'win32') {
    const name = createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 24);
    return { path: `\\\\.\\pipe\\berth-${name}`, remove: () => {} };
  }
  const folder = join(realpathSync(dataDir), 'storage');
  const paths = [join(folder, 'lock'), relative(process.cwd(), join(folder, 'lock'))];
  const short = paths.find((path) => Buffer.byteLength(path) <= PATH_MAX);
  if (short !== undefined) return { path: short, remove: () => {} };
  const link = mkdtempSync(join(tmpdir(), 'berth-'));
  symlinkSync(folder, join(link, 'd'));
  return { path: join(link, 'd', 'lock'), remove: () => rmSync(link, { recursive: true, force: true }) };
}

/** Tries to listen on the socket until this process ends. Returns false if the socket exists already. */
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

/** The files and folders in the data folder that only its owner may read or write. */
const PRIVATE = ['secret', 'storage', 'backups'];
const GROUP_AND_OTHERS = 0o077;
const WRITABLE_BY_OTHERS = 0o002;

/**
 * Creates the data folder if it is missing. Removes the permissions of the group and of others from its private entries,
 * because a copy or an earlier version may have left such permissions. The mode of the folder itself is not changed, because it
 * may contain other files. Files that this process creates later are readable only by their owner.
 * @throws StartError if another user owns the folder or one of its private entries, or if every user may write to it
 */
export function claimFolder(dataDir: string): void {
  process.umask(GROUP_AND_OTHERS);
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    requireOwn(dataDir);
    mkdirSync(join(dataDir, 'storage'), { recursive: true, mode: 0o700 });
    for (const name of PRIVATE) closeToOthers(join(dataDir, name));
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`DATA_DIR ${dataDir} cannot be used: ${(error as Error).message}`);
  }
}

/**
 * Checks that this user owns a file and that not every user may write to it. Does nothing on Windows. @throws StartError if the
 * check fails
 */
function requireOwn(path: string): void {
  if (process.platform === 'win32') return;
  const { uid, mode } = statSync(path);
  if (uid !== process.getuid?.()) {
    throw new StartError(`${path} belongs to another user of this machine. Set DATA_DIR to a folder of your own.`);
  }
  if (mode & WRITABLE_BY_OTHERS) {
    throw new StartError(
      `${path} may be written to by every user of this machine, so any of them could replace the data. Set DATA_DIR to ` +
        `another folder, or: chmod o-w ${path}`,
    );
  }
}

function closeToOthers(path: string): void {
  if (process.platform === 'win32' || !existsSync(path)) return;
  requireOwn(path);
  const { mode } = statSync(path);
  if (mode & GROUP_AND_OTHERS) chmodSync(path, mode & 0o700);
}
