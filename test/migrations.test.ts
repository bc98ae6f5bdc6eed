/** The numbered migrations produce schema.sql, so an upgraded database has the same schema as a new one. */
import { env } from 'cloudflare:workers';
import { afterAll, expect, test } from 'vitest';
import schema from '../schema.sql?raw';
import { SCHEMA } from '../src/ownership.ts';

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

/** The statement of each table and index by its name, without line breaks and quotes. */
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

// Other test files share the database, and create the current schema if it is empty.
afterAll(empty);

test('applying the migrations in order to an empty database produces schema.sql', async () => {
  await empty();
  await apply(schema);
  const expected = await objects();
  await empty();
  for (const name of [...names].sort()) await apply(files[`../migrations/${name}`] as string);
  expect(await objects()).toEqual(expected);
  expect(Object.keys(expected).length).toBeGreaterThan(30);
});

test('the build knows the newest migration, and recognizes a database that has it', async () => {
  const definition = async () => (await objects())[SCHEMA.table] ?? '';
  const sorted = [...names].sort();
  expect(SCHEMA.version).toBe(Number(sorted.at(-1)?.slice(0, 4)));
  await empty();
  for (const name of sorted.slice(0, -1)) await apply(files[`../migrations/${name}`] as string);
  expect(await definition()).not.toContain(SCHEMA.contains);
  await apply(files[`../migrations/${sorted.at(-1)}`] as string);
  expect(await definition()).toContain(SCHEMA.contains);
});

test('each migration has a number of its own, four digits and a name', () => {
  for (const name of names) expect(name).toMatch(/^\d{4}-[a-z0-9-]+\.sql$/);
  const numbers = names.map((name) => name.slice(0, 4));
  expect(new Set(numbers).size).toBe(numbers.length);
});

test('a name that did not exist when a policy was saved gets no rights from it when it is taken later', async () => {
  await empty();
  await apply(files['../migrations/0001-initial.sql'] as string);
  const allowing = (effect: string, ...principals: string[]) => ({ effect, actions: ['pull'], repositories: [], principals });
  const statements = [
    allowing('allow', '*', 'user:bob', 'user:nobody'),
    allowing('deny', 'user:nobody'),
    allowing('allow', 'team:a/b'),
  ];
  const insert = (sql: string, ...values: unknown[]) => database.prepare(sql).bind(...values);
  await database.batch([
    insert("INSERT INTO accounts (subject, created_at) VALUES ('user:bob', 0)"),
    insert(
      "INSERT INTO policies (subject, statements) VALUES ('repository:a/api', ?1), ('trash:7', ?1)",
      JSON.stringify(statements),
    ),
    insert(
      "INSERT INTO policies (subject, statements) VALUES ('repository:a/web', ?1)",
      JSON.stringify(statements.slice(1, 2)),
    ),
    insert("INSERT INTO policy_principals VALUES ('user:bob', 'a/api'), ('user:nobody', 'a/api'), ('team:a/b', 'a/api')"),
    insert(
      "INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at) VALUES (7, 'repository', '', 'a/old', 'user:bob', 0)",
    ),
  ]);
  await apply(files['../migrations/0002-identity.sql'] as string);
  const { results } = await database.prepare('SELECT * FROM policies ORDER BY subject').all();
  const marked = [
    allowing('allow', '*', 'user:bob', '?user:nobody'),
    allowing('deny', 'user:nobody'),
    allowing('allow', '?team:a/b'),
  ];
  expect(results).toMatchObject([
    { subject: 'repository:a/api', statements: JSON.stringify(marked), version: 2, repository: null },
    { subject: 'repository:a/web', statements: JSON.stringify(statements.slice(1, 2)), version: 1 },
    { subject: 'trash:7', statements: JSON.stringify(marked), version: 2, repository: 'a/old' },
  ]);
  const named = await database.prepare('SELECT principal FROM policy_principals ORDER BY 1').all<{ principal: string }>();
  expect(named.results.map(({ principal }) => principal)).toEqual(['user:bob', 'user:nobody']);
});

test('sizes of images that are there already are computed from their documents', async () => {
  await empty();
  for (const name of [...names].sort()) if (name < '0013') await apply(files[`../migrations/${name}`] as string);
  const blob = (digest: string, size: unknown, mediaType = 'layer') => ({ digest, size, mediaType });
  const foreign = blob('sha256:f', 2 ** 53, 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip');
  const documents: Record<string, object | null> = {
    image: {
      config: blob('sha256:c', 2),
      layers: [blob('sha256:a', 10), blob('sha256:b', 100), blob('sha256:a', 10), foreign],
    },
    index: { manifests: [blob('sha256:i', 5, 'application/vnd.oci.image.manifest.v1+json'), blob('sha256:x', 7)] },
    empty: { config: null, layers: null },
    hostile: { layers: Array.from({ length: 3000 }, (_, n) => blob(`sha256:${n}`, Number.MAX_SAFE_INTEGER)) },
    odd: { layers: [blob('sha256:a', 'x')] },
    long: null,
  };
  await database.batch(
    Object.entries(documents).map(([digest, document]) =>
      database
        .prepare(
          `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, object_key, content)
           VALUES (1, ?1, 'type', '', 1, 1, ?2, ?3)`,
        )
        .bind(digest, document === null ? 'manifests/x' : null, document && JSON.stringify(document)),
    ),
  );
  await apply(files['../migrations/0013-images.sql'] as string);
  const { results } = await database
    .prepare('SELECT digest, content_size FROM manifests')
    .all<{ digest: string; content_size: number | null }>();
  expect(Object.fromEntries(results.map(({ digest, content_size }) => [digest, content_size]))).toEqual({
    ...{ image: 112, index: 7, empty: 0, hostile: Number.MAX_SAFE_INTEGER, odd: 0, long: null },
  });
});
