/** The statements of schema.sql, one by one, as D1 wants them. */
import { readFile } from 'node:fs/promises';

/** There are no triggers in it: once the comments are gone, every semicolon ends a statement. */
export async function readSchema(): Promise<string[]> {
  const text = await readFile(new URL('../../schema.sql', import.meta.url), 'utf8');
  return text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '');
}
