/** Settings: `npm start` passes all of them on and refuses invalid ones, and docs/settings.md lists them. */
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { SECRETS, SETTINGS, START_SETTINGS, settings } from '../../src/env.ts';
import { readOptions } from '../../src/local/options.ts';
import { welcome } from '../../src/local/welcome.ts';
import type { Setting } from '../../src/setting.ts';
import { HELP } from '../docs/reasons.ts';
import { TABLES } from '../docs/tables.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** The data folder of a registry that is never started. */
const folder = mkdtempSync(join(tmpdir(), 'berth-'));
const ALL: Record<string, Setting> = { ...START_SETTINGS, ...SETTINGS, ...SECRETS };
const documented = Object.entries(ALL).filter(([, { where }]) => where !== 'tests');

/** A value that is not the default, for each setting. */
const OTHER: Record<string, string> = {
  PUBLIC_URL: 'https://registry.example.com',
  VERIFY: 'stream',
  COMMENTS: 'off',
  CREATE_ON_PUSH: 'off',
  DELETION: 'off',
  LOG: 'text',
  SCRUB: 'hash',
  AUDIT_ADDRESSES: 'off',
  ADOPT_REGISTRY: '5c927445-27ba-4ab5-8318-df982c62b221',
  INSECURE_ISSUERS: 'on',
  INSECURE_WEBHOOKS: 'on',
  D1_REPLICAS: 'on',
  OIDC_ISSUER: 'https://login.example.com',
  ACCESS_ISSUER: 'https://acme.cloudflareaccess.com',
};

test.each(Object.entries(TABLES))(
  'docs/%s has its table as the code has it; `npm run tables` writes it',
  async (page, table) => {
    expect(await readFile(`${ROOT}/docs/${page}`, 'utf8')).toContain(table());
  },
);

test.each(Object.keys(SETTINGS).filter((name) => ALL[name]?.where !== 'tests'))(
  '`npm start` passes %s on to the Worker',
  (name) => {
    const value = OTHER[name] ?? '3';
    const options = readOptions({ [name]: value, REGISTRY_SECRET: 'x'.repeat(32), DATA_DIR: folder });
    expect(options.variables).toEqual({ [name]: value });
    expect(settings(options.variables)).not.toEqual(settings({}));
  },
);

test.each(Object.keys(SECRETS))('`npm start` passes %s on to the Worker', (name) => {
  const value = 'y'.repeat(40);
  const options = readOptions({ REGISTRY_SECRET: 'x'.repeat(32), [name]: value, DATA_DIR: folder });
  expect(options.secrets).toMatchObject({ [name]: value });
});

test('a name that is nearly that of a setting is warned about, and no other name of the environment', async () => {
  const usual = { HOSTNAME: 'x', PATH: '/bin', HOME: '/', LANG: 'C', SHELL: 'sh', LOGNAME: 'x', EDITOR: 'vi', PARTBYTES: '1' };
  const given = { ...process.env, ...usual, REGISTRY_SECRET: 'x'.repeat(32), DATA_DIR: folder };
  expect(readOptions(given).misspelt).toEqual([]);
  const options = readOptions({ ...given, TRASH_DAY: '3', ADMIN_PASSWD: 'x' });
  expect(options.misspelt).toEqual([
    { name: 'TRASH_DAY', meant: 'TRASH_DAYS' },
    { name: 'ADMIN_PASSWD', meant: 'ADMIN_PASSWORD' },
  ]);
  expect(await welcome(options)).toContain('Warning: there is no setting TRASH_DAY: did you mean TRASH_DAYS?');
});

describe('an invalid value', () => {
  /** Settings that may be any text. */
  const free = ['HOST', 'DATA_DIR', 'OIDC_CLIENT_ID', 'OIDC_NAME', 'ACCESS_AUDIENCE'];
  const names = documented.map(([name]) => name).filter((name) => !(name in SECRETS) && !free.includes(name));
  test.each(names)('of %s is refused with the name and the valid values', (name) => {
    const given = { REGISTRY_SECRET: 'x'.repeat(32), DATA_DIR: folder, [name]: 'nonsense' };
    expect(() => readOptions(given)).toThrow(new RegExp(`^${name} is "nonsense": it must be .+`));
  });

  test.each([
    ['REGISTRY_SECRET', 32],
    ['REGISTRY_SECRET_PREVIOUS', 32],
    ['ADMIN_PASSWORD', 16],
  ])('of %s is refused without being shown', (name, least) => {
    const given = { REGISTRY_SECRET: 'x'.repeat(32), DATA_DIR: folder, [name]: 'hunter2' };
    expect(() => readOptions(given)).toThrow(`${name} is too short: it must be ${least} characters or more.`);
    expect(readOptions({ ...given, [name]: 'h'.repeat(least) }).secrets[name]).toBe('h'.repeat(least));
  });

  test.each([
    ['TRASH_DAYS', '-1'],
    ['TRASH_DAYS', '1.5'],
    ['TRASH_DAYS', '1e3'],
    ['TRASH_DAYS', '99999999999999999999'],
    ['EVENT_DAYS', '0'],
    ['DELETION', 'OFF'],
    ['SCRUB', 'none'],
    ['PUBLIC_URL', 'registry.example.com'],
    ['PUBLIC_URL', 'https://example.com/registry'],
    ['PUBLIC_URL', 'https://user@example.com'],
    ['PUBLIC_URL', 'ftp://example.com'],
    ['PORT', '0'],
    ['PORT', '8787x'],
  ])('%s=%s is refused', (name, value) => {
    expect(() => readOptions({ REGISTRY_SECRET: 'x'.repeat(32), DATA_DIR: folder, [name]: value })).toThrow(
      `${name} is "${value}": it must be `,
    );
  });

  test('two that contradict each other are refused', () => {
    expect(() => settings({ KEY_DEFAULT_DAYS: '90', KEY_MAX_DAYS: '30' })).toThrow(
      'KEY_DEFAULT_DAYS is "90": it must be at most',
    );
    expect(settings({ KEY_MAX_DAYS: '30' })).toMatchObject({ keyDefaultDays: 30, keyMaxDays: 30 });
  });

  test('ends the start in one sentence, without a stack', { tags: 'slow' }, async () => {
    const child = spawn(process.execPath, ['src/local/start.ts'], { cwd: ROOT, env: { ...process.env, DELETION: 'never' } });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(1);
    expect(output.trim()).toBe('DELETION is "never": it must be one of on, off.');
  });
});

test.each(Object.entries(HELP))('the reason %s has a cause and a cure in docs/errors.md', (_, help) => {
  for (const text of help) expect(text.length).toBeGreaterThan(8);
});
