/**
 * Tests the rules of the architecture: the imports between rooms (the folders and files at the top of `src/`), the packages and
 * tables of each room, and the lengths of files and functions. The table in docs/architecture.md must be the same as this one.
 */
import { expect, test } from 'vitest';
import architecture from '../docs/architecture.md?raw';
import schema from '../schema.sql?raw';
import { app } from '../src/http/app.ts';
import { PAGES, ROUTES, requirementOf } from '../src/http/routes.ts';
import { functionLengths } from './world/functions.ts';

const files = import.meta.glob('../src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });
const sources = Object.entries(files).map(([path, text]) => ({ path: path.replace('../src/', ''), text }));

/** For each room, the other rooms that it may import. */
const ARROWS: Record<string, string[]> = {
  app: [
    'contract',
    'markdown.ts',
    'vocabulary',
    'background',
    'ownership.ts',
    'registry',
    'auth',
    'webhooks',
    'events',
    'outbound',
    'oci',
    'secrets.ts',
    'telemetry.ts',
    'env.ts',
  ],
  contract: ['vocabulary', 'oci'],
  'index.ts': ['http', 'queue.ts', 'cron.ts', 'env.ts'],
  http: ['app', 'contract', 'oci', 'vocabulary', 'telemetry.ts', 'env.ts'],
  'queue.ts': ['app', 'telemetry.ts', 'env.ts'],
  'cron.ts': ['app', 'queue.ts', 'telemetry.ts', 'env.ts'],
  'ownership.ts': ['storage', 'secrets.ts', 'telemetry.ts', 'env.ts'],
  background: ['vocabulary', 'telemetry.ts', 'env.ts'],
  local: ['contract', 'auth', 'outbound', 'env.ts', 'setting.ts'],
  vocabulary: [],
  registry: ['vocabulary', 'oci', 'storage', 'events', 'telemetry.ts', 'env.ts'],
  auth: ['vocabulary', 'oci', 'events', 'outbound', 'secrets.ts', 'telemetry.ts', 'env.ts'],
  webhooks: ['vocabulary', 'oci', 'events', 'outbound', 'secrets.ts', 'telemetry.ts', 'env.ts'],
  storage: ['vocabulary', 'oci', 'env.ts'],
  events: ['vocabulary', 'oci', 'telemetry.ts', 'env.ts'],
  outbound: [],
  'secrets.ts': ['env.ts'],
  'telemetry.ts': ['env.ts'],
  oci: ['vocabulary'],
  'env.ts': ['setting.ts'],
  'setting.ts': [],
  'markdown.ts': ['vocabulary'],
};

/** For each package, the rooms that may import it. */
const PACKAGES: Record<string, string[]> = {
  hono: ['http'],
  jose: ['auth'],
  'openid-client': ['auth'],
  zod: ['http', 'contract'],
  semver: ['registry'],
  'markdown-it': ['markdown.ts'],
  miniflare: ['local'],
  esbuild: ['local'],
  'smol-toml': ['local'],
  '@cloudflare/workers-types': ['env.ts', 'local'],
  'cloudflare:workers': ['events'],
};

/** For each table, the room whose SQL may name it. */
const TABLES: Record<string, string> = {
  registry: 'ownership.ts',
  repositories: 'registry',
  repository_pages: 'registry',
  stars: 'registry',
  repository_labels: 'registry',
  comments: 'registry',
  blobs: 'registry',
  repository_blobs: 'registry',
  manifests: 'registry',
  manifest_references: 'registry',
  tags: 'registry',
  tag_history: 'registry',
  tag_mutability: 'registry',
  lifecycle_policies: 'registry',
  lifecycle_previews: 'registry',
  trash: 'registry',
  trashed_manifests: 'registry',
  trashed_references: 'registry',
  pulls: 'registry',
  manifest_checks: 'registry',
  usage: 'registry',
  maintenance: 'registry',
  uploads: 'registry',
  tombstones: 'registry',
  accounts: 'auth',
  members: 'auth',
  organization_invitations: 'auth',
  teams: 'auth',
  team_members: 'auth',
  policies: 'auth',
  policy_principals: 'auth',
  access_keys: 'auth',
  logins: 'auth',
  identities: 'auth',
  account_days: 'auth',
  trust_rules: 'auth',
  trust_rule_keys: 'auth',
  outside_logins: 'auth',
  refusals: 'events',
  events: 'events',
  subscriptions: 'webhooks',
  repository_usage: 'registry',
  trashed_subscriptions: 'webhooks',
  deliveries: 'webhooks',
  background_days: 'background',
  match_cursor: 'webhooks',
  delivery_days: 'webhooks',
};

/** The maximum number of characters of a line of a comment. The formatter breaks code at the same width, except for strings. */
const MAX_LINE = 128;

/** The maximum number of lines of a file and of a function. */
const MAX_FILE_LINES = 300;
const MAX_FUNCTION_LINES = 50;

function roomOf(path: string): string {
  return path.split('/')[0] as string;
}

/** The imports of a file: with names, without names, and dynamic ones. */
function importsOf(text: string): string[] {
  const imports = /^(?:import|export)\s[^;]*?from '([^']+)';|^import '([^']+)';|\bimport\('([^']+)'\)/gms;
  return [...text.matchAll(imports)].map((match) => (match[1] ?? match[2] ?? match[3]) as string);
}

function resolveFrom(path: string, target: string): string {
  const parts = path.split('/').slice(0, -1);
  for (const step of target.split('/')) {
    if (step === '..') parts.pop();
    else if (step !== '.') parts.push(step);
  }
  return parts.join('/');
}

/** The code of a file without its comments, so that words in comments do not count. */
function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
}

/** All violations of a rule, so that a failure lists all of them. */
function complaints(
  check: (source: { path: string; room: string; text: string; code: string }) => (string | false)[],
): string[] {
  return sources.flatMap(({ path, text }) => {
    const found = check({ path, room: roomOf(path), text, code: codeOf(text) });
    return found.filter((one) => one !== false).map((one) => `${path}: ${one}`);
  });
}

test('every room is in the table', () => {
  expect([...new Set(sources.map(({ path }) => roomOf(path)))].filter((room) => !(room in ARROWS))).toEqual([]);
});

test('docs/architecture.md has the same table', () => {
  const rows = [...architecture.matchAll(/^\| \d \| `([^`]+)` \| ([^|]+) \|/gm)].map(([, room = '', list = '']) => {
    const imports = list === 'nothing' ? [] : list.split(', ');
    return [room, imports.sort()];
  });
  const wanted = Object.entries(ARROWS).map(([room, to]) => [room, to.map((one) => one.replace('.ts', '')).sort()]);
  expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(wanted));
});

test('arrows go down only', () => {
  expect(
    complaints(({ path, room, text }) =>
      importsOf(text)
        .filter((target) => target.startsWith('.'))
        .map((target) => roomOf(resolveFrom(path, target)))
        .map((to) => to !== room && !ARROWS[room]?.includes(to) && `imports ${to}`),
    ),
  ).toEqual([]);
});

/** The file that assembles the folders of `http`. It may import all of them, and no file of `http` may import it. */
const ASSEMBLY = 'http/app.ts';

test('folders of one room do not import each other in circles, nor does a folder and one below it', () => {
  const folderOf = (path: string) => path.split('/').slice(0, -1).join('/');
  const arrows = new Map<string, Set<string>>();
  for (const { path, text } of sources.filter((source) => source.path !== ASSEMBLY)) {
    const from = folderOf(path);
    for (const target of importsOf(text).filter((one) => one.startsWith('.'))) {
      const imported = resolveFrom(path, target);
      const to = folderOf(imported);
      if (roomOf(imported) === roomOf(path)) expect(imported, path).not.toBe(ASSEMBLY);
      if (to !== from && to !== '' && from !== '' && roomOf(imported) === roomOf(path)) {
        arrows.set(from, (arrows.get(from) ?? new Set()).add(to));
      }
    }
  }
  expect(inCircles(arrows)).toEqual([]);
});

test('files do not import each other in circles', () => {
  const arrows = new Map(
    sources.map(({ path, text }) => [
      path,
      new Set(
        importsOf(text)
          .filter((target) => target.startsWith('.'))
          .map((target) => resolveFrom(path, target)),
      ),
    ]),
  );
  expect(inCircles(arrows)).toEqual([]);
});

/** The names that import themselves through other names. */
function inCircles(arrows: Map<string, Set<string>>): string[] {
  const leadsTo = (from: string, to: string, seen = new Set<string>()): boolean => {
    if (seen.has(from)) return false;
    seen.add(from);
    return [...(arrows.get(from) ?? [])].some((next) => next === to || leadsTo(next, to, seen));
  };
  return [...arrows.keys()].filter((name) => leadsTo(name, name));
}

test('a package is imported by the rooms it is for', () => {
  expect(
    complaints(({ room, text }) =>
      importsOf(text)
        .filter((target) => !target.startsWith('.') && !target.startsWith('node:'))
        .map((target) => Object.keys(PACKAGES).find((name) => target === name || target.startsWith(`${name}/`)) ?? target)
        .map((name) => !PACKAGES[name]?.includes(room) && `imports ${name}`),
    ),
  ).toEqual([]);
});

test('only the local program uses Node', () => {
  // The runtime of Workers has these modules of Node, too.
  const native = ['storage/hash.ts', 'storage/unzstd.ts'];
  const mayUseNode = (path: string, room: string) => room === 'local' || native.includes(path);
  expect(
    complaints(({ path, room, code }) => [!mayUseNode(path, room) && /from 'node:|\bprocess\./.test(code) && 'uses Node']),
  ).toEqual([]);
});

test('only storage names the bucket', () => {
  const allowed = ['storage', 'env.ts', 'local'];
  expect(complaints(({ room, code }) => [!allowed.includes(room) && /\bBLOBS\s*\./.test(code) && 'calls the bucket'])).toEqual(
    [],
  );
});

test('a session of D1 is begun in one file, and only content is read from replicas', () => {
  expect(
    complaints(({ path, room, code }) => [
      path !== 'events/replicas.ts' && /\.withSession\(/.test(code) && room !== 'telemetry.ts' && 'begins a session',
      path !== 'events/replicas.ts' && room !== 'registry' && /\bfirstFromNearest\b/.test(code) && 'reads from a replica',
    ]),
  ).toEqual([]);
});

test('SQL names a table only in the room that owns it', () => {
  const verbs = '(?:FROM|JOIN|INTO|UPDATE)';
  expect(
    complaints(({ room, code }) =>
      Object.entries(TABLES).map(
        ([table, owner]) => new RegExp(`${verbs} ${table}\\b`).test(code) && room !== owner && `names ${table}`,
      ),
    ),
  ).toEqual([]);
});

test('every table of the schema has an owner and a section', () => {
  const tables = [...schema.matchAll(/CREATE TABLE IF NOT EXISTS (\w+)/g)].map((match) => match[1] as string);
  expect(tables.filter((table) => !(table in TABLES))).toEqual([]);
  const sections = schema.split(/^-- ── /m).slice(1);
  const misplaced = sections.flatMap((section) => {
    const owner = section.split(' ', 1)[0];
    return [...section.matchAll(/CREATE TABLE IF NOT EXISTS (\w+)/g)].filter((match) => TABLES[match[1] as string] !== owner);
  });
  expect(misplaced).toEqual([]);
  expect(schema).not.toMatch(/CREATE TABLE(?! IF NOT EXISTS)|CREATE INDEX(?! IF NOT EXISTS)/);
});

test('recorded events are in the list of event types, and the list has no others', () => {
  const kind =
    /'((?:manifest|tag|blob|repository|comment|tag-mutability|lifecycle|trash|gc|quota|user|login|organization|member|team|team-member|robot|key|policy|trust-rule|webhook)\.[a-z]+)'/g;
  const named = (room: string) =>
    sources
      .filter(({ path }) => roomOf(path) === room && !path.startsWith('webhooks/formats/'))
      .flatMap(({ text }) => [...codeOf(text).matchAll(kind)].map((match) => match[1]));
  const recorded = [...named('registry'), ...named('auth'), ...named('webhooks')];
  expect([...new Set(recorded)].sort()).toEqual([...new Set(named('vocabulary'))].sort());
});

test('the clock and chance are read at the doors only', () => {
  const doors = ['http', 'queue.ts', 'cron.ts', 'local'];
  const sensed = /Date\.now\(|new Date\(\)|Math\.random\(/;
  expect(complaints(({ room, code }) => [!doors.includes(room) && sensed.test(code) && 'reads the clock or chance'])).toEqual(
    [],
  );
});

test('only outbound opens connections', () => {
  const opened = /(?<![.\w])fetch\(|\bglobalThis\.fetch|\bconnect\(/;
  const script = 'http/join.ts';
  expect(
    complaints(({ path, room, code }) => [
      !['outbound', 'local'].includes(room) && path !== script && opened.test(code) && 'opens a connection',
    ]),
  ).toEqual([]);
});

test('the grammar touches no binding and no network', () => {
  expect(complaints(({ room, code }) => [room === 'oci' && /\b(?:env|fetch|Hono)\b/.test(code) && 'does I/O'])).toEqual([]);
});

test('every file begins with a comment about its purpose', () => {
  expect(complaints(({ text }) => [!text.startsWith('/**') && 'has no head comment'])).toEqual([]);
});

test('no room is too large', () => {
  expect(
    complaints(({ text }) => {
      const lines = text.split('\n').length;
      return [
        lines > MAX_FILE_LINES && `has ${lines} lines`,
        ...functionLengths(text).map((n) => n > MAX_FUNCTION_LINES && `has a function of ${n} lines`),
      ];
    }),
  ).toEqual([]);
});

test('no line is too long', () => {
  const tooLong = (line: string) => line.length > MAX_LINE;
  expect(complaints(({ text }) => text.split('\n').map((line, n) => tooLong(line) && `line ${n + 1} is too long`))).toEqual([]);
});

test('functions are measured at any depth', () => {
  const source = `function outer(one: { two: string }): { three: string } {
    return { three: \`\${[1].map((n) => {
      return n;
    })}\` };
  }
  class Class {
    method(): Promise<{ four: 4 }> {
      if (/[{'"]/.test('{')) {
      }
    }
  }
  const value = condition ? call() : { five: 5 };
  app.get('/', async (c) => {
    c.text('} // not the end');
    return null;
  });`;
  expect(functionLengths(source)).toEqual([5, 3, 4, 4]);
});

test('no type is any, and no check is switched off', () => {
  expect(
    complaints(({ code, text }) => [
      /:\s*any\b|as any\b/.test(code) && 'has any',
      /@ts-|biome-ignore/.test(text) && 'switches a check off',
    ]),
  ).toEqual([]);
});

test('a route without a row in the table does not start', () => {
  expect(() => requirementOf('GET', '/v2/none')).toThrow('routes.ts has no row for GET /v2/none');
});

test('every route has a row in the table, and the guard that the row says', () => {
  const guarded = app.routes
    .filter(({ method, path }) => method !== 'ALL' && path !== '/*')
    .flatMap(({ method, path, handler }) => ('requirement' in handler ? [`${method} ${path} ${handler.requirement}`] : []));
  const handled = [
    ...new Set(app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)),
  ];
  const rows = Object.entries({ ...ROUTES, ...PAGES }).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, requirement]) => ({ route: `${method} ${path}`, requirement })),
  );
  const normal = (route: string) => route.replace(/(.)\/$/, '$1');
  expect(handled.map(normal).sort()).toEqual(rows.map(({ route }) => normal(route)).sort());
  const asked = rows
    .filter(({ requirement }) => requirement !== 'anyone')
    .map(({ route, requirement }) => `${normal(route)} ${requirement}`);
  expect(guarded.map((line) => line.replace(/\/ (?=\w+$)/, ' ')).sort()).toEqual(asked.sort());
});
