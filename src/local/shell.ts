/** Text for commands that are printed, to be pasted into a shell: PowerShell on Windows, a POSIX shell elsewhere. */

export const IS_POWERSHELL = process.platform === 'win32';

/** A word in single quotes. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", IS_POWERSHELL ? "''" : "'\\''")}'`;
}
