/** Generates the table of docs/settings.md from the code. `node test/settings-table.ts` writes it there. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SECRETS, SETTINGS, type Setting, START_SETTINGS } from '../src/env.ts';

export function settingsTable(): string {
  const all: Record<string, Setting> = { ...START_SETTINGS, ...SETTINGS, ...SECRETS };
  const rows = Object.entries(all).flatMap(([name, { where, values, fallback, about }]) =>
    where === 'tests' ? [] : [`| \`${name}\` | ${fallback} | ${values} | ${about} |`],
  );
  return ['| setting | default | values | what it is |', '|---|---|---|---|', ...rows].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = fileURLToPath(new URL('../docs/settings.md', import.meta.url));
  const text = readFileSync(page, 'utf8');
  writeFileSync(
    page,
    text.replace(/^\| setting \| default \|.*\n(?:\|.*\n)+/m, () => `${settingsTable()}\n`),
  );
}
