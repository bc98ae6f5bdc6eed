/** Formats text for commands that a user can paste into a shell: PowerShell on Windows, a POSIX shell elsewhere. */

export const IS_POWERSHELL = process.platform === 'win32';

/** Returns a word in single quotes. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", IS_POWERSHELL ? "''" : "'\\''")}'`;
}
