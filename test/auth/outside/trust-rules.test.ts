import { beforeEach, describe, expect, test } from 'vitest';
import { deleteRule, getRule, listRules, type NewRule, putRule } from '../../../src/auth/outside/trust-rules.ts';
import { builtOnce, type World } from '../../world/world.ts';

const by = { subject: 'user:alice' };

const RULE: NewRule = {
  subject: 'ci:acme/deploy',
  issuer: 'https://token.actions.githubusercontent.com',
  audience: 'registry.test',
  claims: { repository_id: '74', ref: ['refs/heads/main', 'refs/tags/*'] },
  statements: [{ effect: 'allow', actions: ['push'], repositories: ['acme/api'], tags: ['v*'], when: { ref_type: 'tag' } }],
  description: 'from main',
  lifetime: 3600,
  disabled: false,
};

let world: World;
const build = builtOnce(async (made) => {
  world = made;
  for (const name of ['acme', 'acme-io', 'acmea', 'zeta']) await addOrganization(name);
});

beforeEach(async () => {
  world = await build();
});

async function addOrganization(name: string): Promise<void> {
  const row = world.env.DB.prepare('INSERT INTO accounts (subject, created_at) VALUES (?1, unixepoch())');
  await row.bind(`organization:${name}`).run();
}

function put(rule: Partial<NewRule> = {}, ifVersion: number | null = null) {
  const { subject = RULE.subject } = rule;
  const [, organization = ''] = /^ci:(.*)\//.exec(subject) ?? [];
  const repositories = [organization === '' ? 'acme/api' : `${organization}/api`];
  const statements = RULE.statements.map((statement) => ({ ...statement, repositories }));
  return putRule(world.env, { ...RULE, statements, ...rule }, { ifVersion, by });
}

async function events(): Promise<Record<string, unknown>[]> {
  const { results } = await world.env.DB.prepare('SELECT type, about, target, actor FROM events ORDER BY id').all();
  return results.map((row) => ({ ...row, target: JSON.parse(String(row.target)) }));
}

describe('a trust rule', () => {
  test('is read as it was saved', async () => {
    const saved = await put();
    expect(saved).toEqual({ ...RULE, createdAt: expect.any(Number), version: 1 });
    expect(await getRule(world.env, RULE.subject)).toEqual(saved);
  });

  test('is replaced as a whole, keeps its creation time, and counts its versions', async () => {
    const first = await put();
    await world.env.DB.prepare('UPDATE trust_rules SET created_at = 5').run();
    const changed = {
      issuer: 'https://gitlab.com',
      audience: 'b',
      claims: { project_id: '1' },
      statements: [{ effect: 'allow' as const, actions: ['pull'] as const, repositories: ['acme/*'] }],
      description: '',
      lifetime: 600,
      disabled: true,
    };
    expect(await put(changed, first.version)).toEqual({ ...RULE, ...changed, createdAt: 5, version: 2 });
  });

  test('is created only if it does not exist, if that is requested', async () => {
    expect(await put({}, 0)).toMatchObject({ version: 1 });
    await expect(put({ description: 'again' }, 0)).rejects.toMatchObject({ reason: 'version-mismatch' });
    expect(await getRule(world.env, RULE.subject)).toMatchObject({ version: 1, description: 'from main' });
  });

  test('is changed only in the version that was seen, and not if it does not exist', async () => {
    await expect(put({}, 1)).rejects.toMatchObject({ reason: 'version-mismatch' });
    await put();
    await put();
    await expect(put({ description: 'late' }, 1)).rejects.toMatchObject({ reason: 'version-mismatch' });
    expect(await getRule(world.env, RULE.subject)).toMatchObject({ version: 2, description: 'from main' });
    expect(await events()).toHaveLength(2);
  });

  test('is saved only while its organization exists; one of the registry as a whole has none', async () => {
    await expect(put({ subject: 'ci:absent/deploy' })).rejects.toMatchObject({ reason: 'not-found' });
    await world.env.DB.prepare("UPDATE accounts SET disabled = 2 WHERE subject = 'organization:acme'").run();
    await expect(put()).rejects.toMatchObject({ reason: 'not-found' });
    expect(await events()).toEqual([]);
    expect(await put({ subject: 'ci:deploy' })).toMatchObject({ version: 1 });
  });

  test('changed by two at the same time is changed by one', async () => {
    await put();
    const outcomes = await Promise.allSettled([put({ description: 'a' }, 1), put({ description: 'b' }, 1)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await events()).toHaveLength(2);
  });

  test('is deleted in the version that was seen, or in any', async () => {
    await put();
    await put();
    await expect(deleteRule(world.env, RULE.subject, { ifVersion: 1, by })).rejects.toMatchObject({
      reason: 'version-mismatch',
    });
    await deleteRule(world.env, RULE.subject, { ifVersion: 2, by });
    await expect(getRule(world.env, RULE.subject)).rejects.toMatchObject({ reason: 'not-found' });
    await put();
    await deleteRule(world.env, RULE.subject, { ifVersion: null, by });
    await expect(deleteRule(world.env, RULE.subject, { ifVersion: null, by })).rejects.toMatchObject({ reason: 'not-found' });
    await expect(deleteRule(world.env, RULE.subject, { ifVersion: 3, by })).rejects.toMatchObject({ reason: 'not-found' });
  });

  test('is recorded with its content, once for each actual change', async () => {
    await put();
    await expect(put({}, 7)).rejects.toThrow();
    await expect(deleteRule(world.env, RULE.subject, { ifVersion: 7, by })).rejects.toThrow();
    await expect(deleteRule(world.env, 'ci:acme/absent', { ifVersion: null, by })).rejects.toThrow();
    await deleteRule(world.env, RULE.subject, { ifVersion: 1, by });
    const { subject, issuer, audience, claims, statements } = RULE;
    expect(await events()).toEqual([
      {
        type: 'trust-rule.saved',
        about: 'organization:acme',
        actor: 'user:alice',
        target: { subject, issuer, audience, claims, statements, version: 1, lifetime: 3600, disabled: false },
      },
      { type: 'trust-rule.deleted', about: 'organization:acme', actor: 'user:alice', target: { subject, issuer, version: 1 } },
    ]);
  });

  test('may hold quotes and what looks like SQL or a parameter', async () => {
    const description = `'); DROP TABLE trust_rules; -- ?1 "x" 😀`;
    expect(await put({ description, claims: { ...RULE.claims, sub: description } })).toMatchObject({
      description,
      claims: { ...RULE.claims, sub: description },
    });
  });
});

describe('an organization', () => {
  test('has up to 50 rules, each of which can still be changed', async () => {
    for (let n = 0; n < 50; n++) await put({ subject: `ci:acme/rule${n}` });
    await expect(put({ subject: 'ci:acme/one-more' })).rejects.toMatchObject({ reason: 'limit-reached' });
    await expect(put({ subject: 'ci:acme/one-more' }, 0)).rejects.toMatchObject({ reason: 'limit-reached' });
    expect((await put({ subject: 'ci:acme/rule7', description: 'changed' })).version).toBe(2);
    await expect(put({ subject: 'ci:acme/rule7' }, 1)).rejects.toMatchObject({ reason: 'version-mismatch' });
    expect((await put({ subject: 'ci:zeta/first' })).version).toBe(1);
  });
});

describe('the list of rules', () => {
  async function names(organization: string, page = { after: '', limit: 10 }) {
    const { items, more } = await listRules(world.env, organization, page);
    return [...items.map(({ subject }) => subject), ...(more ? ['more'] : [])];
  }

  beforeEach(async () => {
    for (const name of ['b', 'acme/b', 'acme/a', 'acme-io/a', 'acme', 'acmea/x', 'a', 'zeta/z', 'z', 'acme/c']) {
      await put({ subject: `ci:${name}` });
    }
  });

  test('has those of one organization, and not those of similarly named ones', async () => {
    expect(await names('acme')).toEqual(['ci:acme/a', 'ci:acme/b', 'ci:acme/c']);
    expect(await names('acm')).toEqual([]);
    expect(await names('%')).toEqual([]);
  });

  test('of the registry as a whole has none of an organization', async () => {
    expect(await names('')).toEqual(['ci:a', 'ci:acme', 'ci:b', 'ci:z']);
  });

  test('is paged', async () => {
    expect(await names('acme', { after: '', limit: 2 })).toEqual(['ci:acme/a', 'ci:acme/b', 'more']);
    expect(await names('acme', { after: 'ci:acme/b', limit: 2 })).toEqual(['ci:acme/c']);
    expect(await names('acme', { after: 'ci:acme/a', limit: 2 })).toEqual(['ci:acme/b', 'ci:acme/c']);
    expect(await names('acme', { after: 'ci:aaaa/a', limit: 1 })).toEqual(['ci:acme/a', 'more']);
    expect(await names('acme', { after: 'ci:zeta/a', limit: 1 })).toEqual([]);
    expect(await names('', { after: 'ci:acme', limit: 1 })).toEqual(['ci:b', 'more']);
  });

  test('has the same rules as reading them one by one', async () => {
    const { items } = await listRules(world.env, 'acme', { after: '', limit: 1 });
    expect(items).toEqual([await getRule(world.env, 'ci:acme/a')]);
  });

  test('is read by key', async () => {
    const plan = await world.env.DB.prepare(
      `EXPLAIN QUERY PLAN SELECT subject FROM trust_rules WHERE subject > max('ci:acme/', '') AND subject < 'ci:acme/' || '~'`,
    ).all<{ detail: string }>();
    expect(plan.results.map(({ detail }) => detail).join()).toMatch(/^SEARCH trust_rules USING PRIMARY KEY/);
  });
});
