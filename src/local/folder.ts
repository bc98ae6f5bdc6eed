/**
 * Makes the data folder private to the user who starts the registry. It holds the secret, the database and the layers, which other
 * users of the machine must not reach past the registry's own access control.
 */
import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { StartError } from './start-error.ts';

/** Entries of the folder that only its owner may read or write. */
const PRIVATE = ['secret', 'storage', 'backups'];
const GROUP_AND_OTHERS = 0o077;
const WRITABLE_BY_OTHERS = 0o002;

/**
 * Creates the folder if it is missing, and removes the permissions of group and others that a copy or an earlier version left. The
 * mode of the folder itself stays, since it may hold other files too. New files are readable by their owner alone.
 * @throws StartError if another user owns the folder or may write to it; nothing is changed then
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

/** Checks owner and mode. Windows has neither in this form. */
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
