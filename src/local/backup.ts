/** Copies of the database, made before it is upgraded. */
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** The newest copies that are kept. */
const KEPT = 2;

/**
 * Copies the files of the database while nothing writes to them, and removes all but the newest copies.
 * @param before the first migration that will be applied
 * @returns the folder of the copy: put its files in the place of those in `storage/d1` to go back
 */
export function copyDatabase(dataDir: string, before: string): string {
  const all = join(dataDir, 'backups');
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const copy = join(all, `${time}-before-${before.replace('.sql', '')}`);
  cpSync(join(dataDir, 'storage', 'd1'), copy, { recursive: true });
  const old = readdirSync(all).sort().slice(0, -KEPT);
  for (const name of old) rmSync(join(all, name), { recursive: true });
  return copy;
}
