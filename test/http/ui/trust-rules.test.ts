/** The pages of trust rules: the forms of the CI platforms, and the workflows that they show. */
import { beforeEach, expect, test } from 'vitest';
import { browserOf } from '../../world/browser.ts';
import { makeAcme } from '../../world/organizations.ts';
import { api, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let owner: Person;
let member: Person;
let outsider: Person;
const fresh = builtOnce(async (built) => {
  ({ owner, member, outsider } = await makeAcme(built));
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

const RULES = '/organizations/acme/trust-rules';

const COMMON = { name: 'deploy', repositories: 'acme/api', branch: 'main', tags: '' };

test.each([
  [
    'github',
    { repository_id: '123456789', tags: 'main-* v*', 'pull-requests': 'on' },
    {
      issuer: 'https://token.actions.githubusercontent.com',
      claims: { repository_id: '123456789' },
      statements: [
        { actions: ['pull'], repositories: ['acme/api'] },
        { actions: ['push', 'retag'], tags: ['main-*', 'v*'], when: { ref: 'refs/heads/main' } },
        { actions: ['pull'], when: { event_name: 'pull_request' } },
      ],
    },
    'audience=registry.test&quot;',
  ],
  [
    'gitlab',
    { issuer: 'https://gitlab.com/', project_id: '42' },
    {
      issuer: 'https://gitlab.com',
      claims: { project_id: '42' },
      statements: [{ actions: ['pull'] }, { actions: ['push', 'retag'], when: { ref: 'main', ref_type: 'branch' } }],
    },
    'BERTH_TOKEN: { aud: &quot;registry.test&quot; }',
  ],
  [
    'buildkite',
    { organization_slug: 'acme', pipeline_slug: 'api' },
    { claims: { organization_slug: 'acme', pipeline_slug: 'api' }, issuer: 'https://agent.buildkite.com' },
    'buildkite-agent oidc request-token --audience registry.test',
  ],
  [
    'circleci',
    { organization_id: '5a1f', project_id: '9c2e', branch: '' },
    {
      issuer: 'https://oidc.circleci.com/org/5a1f',
      claims: { 'oidc.circleci.com/project-id': '9c2e' },
      statements: [{ actions: ['pull'] }],
    },
    'circleci run oidc get',
  ],
])('the form of %s makes the rule, and its page shows the workflow', async (platform, fields, rule, snippet) => {
  const browser = await browserOf(world, owner.name, owner.secret);
  expect(await browser.page(`${RULES}/-/new?platform=${platform}`)).toContain(`name="platform" value="${platform}"`);
  const made = await browser.post(`${RULES}/-/new`, { ...COMMON, platform, ...fields });
  expect([made.status, made.headers.get('location')]).toEqual([303, `${RULES}/deploy?notice=created`]);
  expect((await api(world, 'GET', '/organizations/acme/trust-rules/deploy', { as: owner.basic })).body).toMatchObject(rule);
  const page = await browser.page(`${RULES}/deploy`);
  expect(page).toContain(snippet);
  expect(page).toContain('docker login -u ci --password-stdin registry.test');
});

test('a rule that is not safe comes back filled in', async () => {
  const browser = await browserOf(world, owner.name, owner.secret);
  const fields = { ...COMMON, platform: 'github', repository_id: 'acme/api', tags: '<script>' };
  const refused = await browser.post(`${RULES}/-/new`, fields);
  const page = await refused.text();
  expect([refused.status, page.includes('must have one of'), page.includes('value="acme/api"')]).toEqual([400, true, true]);
  expect(page).toContain('value="&lt;script&gt;"');
});

test('a rule is disabled, saved as JSON, and deleted by owners only', async () => {
  const body = {
    issuer: 'https://token.actions.githubusercontent.com',
    claims: { repository_id: '1' },
    statements: [{ actions: ['pull'], repositories: ['acme/*'] }],
    description: '<b>\u202e',
  };
  await api(world, 'PUT', '/organizations/acme/trust-rules/deploy', { as: owner.basic, body: { ...body, description: '<b>' } });
  const browser = await browserOf(world, owner.name, owner.secret);
  const path = `${RULES}/deploy`;
  const sent = async (below: string, fields: Record<string, string>) => (await browser.post(`${path}${below}`, fields)).status;
  expect(await browser.page(RULES)).toContain('&lt;b&gt;');
  expect(await sent('', { version: '1', disabled: 'yes' })).toBe(303);
  expect(await browser.page(path)).toContain('Enable the rule');
  expect(await sent('', { version: '1', rule: JSON.stringify(body) })).toBe(412);
  expect(await sent('', { version: '2', rule: '{' })).toBe(400);
  expect(await sent('', { version: '2', rule: JSON.stringify({ ...body, description: 'x' }) })).toBe(303);
  for (const [person, status] of [
    [member, 403],
    [outsider, 404],
  ] as const) {
    const other = await browserOf(world, person.name, person.secret);
    expect((await other.get(path)).status).toBe(status);
    expect((await other.post(`${path}/deletion`, { confirm: 'deploy', version: '3' })).status).toBe(status);
  }
  expect(await sent('/deletion', { confirm: 'x', version: '3' })).toBe(400);
  expect(await sent('/deletion', { confirm: 'deploy', version: '3' })).toBe(303);
});

test('an administrator makes, disables and deletes rules of the registry, and owners of organizations cannot', async () => {
  const admin = await browserOf(world);
  const fields = { ...COMMON, platform: 'github', repository_id: '77', repositories: 'acme/* tools/*' };
  const made = await admin.post('/trust-rules/-/new', fields);
  expect([made.status, made.headers.get('location')]).toEqual([303, '/trust-rules/deploy?notice=created']);
  expect(await admin.page('/trust-rules')).toContain('href="/trust-rules/deploy"');
  const page = await admin.page('/trust-rules/deploy');
  expect([page.includes('/api/v1/trust-rules/deploy'), page.includes('audience=registry.test')]).toEqual([true, true]);
  expect((await admin.post('/trust-rules/deploy', { version: '1', disabled: 'yes' })).headers.get('location')).toBe(
    '/trust-rules/deploy?notice=saved',
  );
  expect((await admin.post('/trust-rules/deploy', { version: '1' })).status).toBe(412);
  const browser = await browserOf(world, owner.name, owner.secret);
  for (const path of ['/trust-rules', '/trust-rules/deploy', '/trust-rules/other', '/trust-rules/-/new']) {
    expect([path, (await browser.get(path)).status]).toEqual([path, 403]);
  }
  expect((await browser.post('/trust-rules/-/new', { ...fields, name: 'mine' })).status).toBe(403);
  const removed = await admin.post('/trust-rules/deploy/deletion', { version: '2', confirm: 'deploy' });
  expect(removed.headers.get('location')).toBe('/trust-rules?notice=deleted');
});
