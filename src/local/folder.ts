/**
 * The data folder belongs to whoever starts the registry, and nobody else reads or writes what is in it: a secret, and a database
 * and layers that the registry's own rights would keep from other users of the machine.
 */
import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { StartError } from './start-error.ts';

/** Entries of the folder whose content is for its owner alone. */
const PRIVATE = ['secret', 'storage'];
const GROUP_AND_OTHERS = 0o077;
const WRITABLE_BY_OTHERS = 0o002;

/**
 * Makes the folder if it is not there, and takes the rights of group and others from what a copy or an earlier version left open.
 * The mode of the folder itself stays as it is, since it may hold other things too. New files are made for their owner alone.
 * @throws StartError if the folder is not the caller's, or others may write to it; nothing is changed then
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

/** Windows has no such modes and no such owner. */
function requireOwn(path: string): void {
  if (process.platform === 'win32') return;
  const { uid, mode } = statSync(path);
  if (uid !== process.getuid?.()) {
    throw new StartError(`${path} belongs to another user of this machine. Set DATA_DIR to a folder of your own.`);
  }
  if (mode & WRITABLE_BY_OTHERS) {
    throw new StartError(
      `${path} may be written to by every user of this machine, so any of them could replace the data. Set DATA_DIR to another folder, or: chmod o-w ${path}`,
    );
  }
}

function closeToOthers(path: string): void {
  if (process.platform === 'win32' || !existsSync(path)) return;
  requireOwn(path);
  const { mode } = statSync(path);
  if (mode & GROUP_AND_OTHERS) chmodSync(path, mode & 0o700);
}
