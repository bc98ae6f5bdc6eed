/** The numbered migrations produce schema.sql, so a database that was upgraded is one that was made today. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import schema from '../schema.sql?raw';

const files = import.meta.glob('../migrations/*.sql', { query: '?raw', import: 'default', eager: true }) as Record<
  string,
  string
>;
const names = Object.keys(files).map((path) => path.replace('../migrations/', ''));
const database = (env as unknown as { DB: D1Database }).DB;

function statementsOf(text: string): string[] {
  return text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '');
}

async function apply(text: string): Promise<void> {
  await database.batch(statementsOf(text).map((statement) => database.prepare(statement)));
}

/** Tables and indexes by name, each as its statement without line breaks and quotes. */
async function objects(): Promise<Record<string, string>> {
  const { results } = await database
    .prepare(
      "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    .all<{ name: string; sql: string }>();
  return Object.fromEntries(results.map(({ name, sql }) => [name, plain(sql)]));
}

function plain(sql: string): string {
  return sql
    .replaceAll(/--.*$/gm, '')
    .replaceAll(/["`]/g, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/ ?([(),]) ?/g, '$1')
    .trim();
}

async function empty(): Promise<void> {
  const tables = await database
    .prepare(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'",
    )
    .all<{ name: string }>();
  if (tables.results.length === 0) return;
  await database.batch(tables.results.map(({ name }) => database.prepare(`DROP TABLE ${name}`)));
}

test('the migrations, applied in their order to an empty database, produce schema.sql', async () => {
  await empty();
  await apply(schema);
  const expected = await objects();
  await empty();
  for (const name of [...names].sort()) await apply(files[`../migrations/${name}`] as string);
  expect(await objects()).toEqual(expected);
  expect(Object.keys(expected).length).toBeGreaterThan(30);
});

test('each migration has a number of its own, four digits and a name', () => {
  for (const name of names) expect(name).toMatch(/^\d{4}-[a-z0-9-]+\.sql$/);
  const numbers = names.map((name) => name.slice(0, 4));
  expect(new Set(numbers).size).toBe(numbers.length);
});
