/** Generates tables in docs/ from the code: settings and reasons. `node test/docs/tables.ts` writes them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SECRETS, SETTINGS, START_SETTINGS } from '../../src/env.ts';
import { API, V2 } from '../../src/http/refusals.ts';
import type { Setting } from '../../src/setting.ts';
import { REASONS, type Reason } from '../../src/vocabulary/reasons.ts';
import { HELP } from './reasons.ts';

function settingsTable(): string {
  const all: Record<string, Setting> = { ...START_SETTINGS, ...SETTINGS, ...SECRETS };
  const rows = Object.entries(all).flatMap(([name, { where, values, fallback, about }]) =>
    where === 'tests' ? [] : [`| \`${name}\` | ${fallback} | ${values} | ${about} |`],
  );
  return ['| setting | default | values | what it is |', '|---|---|---|---|', ...rows].join('\n');
}

function reasonsTable(): string {
  const rows = (Object.keys(REASONS) as Reason[]).map((reason) => {
    const [cause, cure] = HELP[reason];
    return `| ${REASONS[reason]} | ${cause} | ${cure} | ${statusOf(reason)} | \`${reason}\` |`;
  });
  return ['| message | cause | what to do | status and code | reason in the log |', '|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}

/** Status and code under /v2 and, where they differ, under /api. */
function statusOf(reason: Reason): string {
  const [content, management] = [V2[reason].join(' '), API[reason].join(' ')];
  return content === management ? content : `${content}; under \`/api\` ${management}`;
}

/** The function that generates the table of each page. */
export const TABLES: Record<string, () => string> = { 'settings.md': settingsTable, 'errors.md': reasonsTable };

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, table] of Object.entries(TABLES)) {
    const page = fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
    const head = table().split('\n', 1)[0] ?? '';
    const text = readFileSync(page, 'utf8');
    const start = text.indexOf(head);
    if (start < 0) throw new Error(`docs/${name} has no line ${head}`);
    const end = text.slice(start).search(/\n(?!\|)/) + start;
    writeFileSync(page, `${text.slice(0, start)}${table()}${text.slice(end)}`);
  }
}
