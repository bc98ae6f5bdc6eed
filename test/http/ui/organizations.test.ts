/** The pages of organizations: who sees which page and control, and what their forms change. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { makeAcme, makeTeam } from '../../world/organizations.ts';
import { api, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let owner: Person;
let member: Person;
let outsider: Person;
const fresh = builtOnce(async (built) => {
  ({ owner, member, outsider } = await makeAcme(built));
  await makeTeam(built, 'acme', 'dev', [member]);
  await api(built, 'PUT', '/organizations/acme/robots/ci');
  await api(built, 'PUT', '/repositories/acme/api', { body: {} });
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

const as = (person: Person): Promise<Browser> => browserOf(world, person.name, person.secret);

/** The status of a form's answer, and the page to which it leads. */
async function sent(browser: Browser, path: string, fields: Record<string, string>): Promise<string> {
  const response = await browser.post(path, fields);
  return `${response.status} ${response.headers.get('location') ?? ''}`.trim();
}

describe('an organization', () => {
  test('does not exist for a stranger, in any of its pages', async () => {
    const browser = await as(outsider);
    const absent = await (await browser.get('/organizations/none')).text();
    for (const below of ['', '/members', '/teams', '/teams/dev', '/robots', '/robots/ci', '/settings']) {
      const response = await browser.get(`/organizations/acme${below}`);
      expect([below, response.status]).toEqual([below, 404]);
    }
    expect((await (await browser.get('/organizations/acme')).text()).replaceAll('acme', 'none')).toBe(absent);
    expect(await sent(browser, '/organizations/acme/members', { user: outsider.name, role: 'owner' })).toBe('404');
  });

  test('shows a member no controls of owners, and refuses them', async () => {
    const browser = await as(member);
    const page = await browser.page('/organizations/acme/members');
    expect([page.includes('Make owner'), page.includes('Robots'), page.includes('Leave')]).toEqual([false, false, true]);
    expect((await browser.get('/organizations/acme/robots')).status).toBe(403);
    expect(await sent(browser, `/organizations/acme/members/${member.name}`, { role: 'owner' })).toBe('403');
    expect(await browser.page('/organizations/acme/teams/dev')).not.toContain('Rights');
    expect(await sent(browser, '/organizations/acme/teams/dev/policy', { statements: '[]' })).toBe('403');
  });

  test('is created by an administrator with its first owner, and is deleted with its name typed', async () => {
    const browser = await browserOf(world);
    const fields = { name: 'initech', description: '<script>\u202e', owner: outsider.name };
    expect(await sent(browser, '/organizations/-/new', { ...fields, description: '<script>' })).toBe(
      '303 /organizations/initech/members?notice=created',
    );
    expect(await browser.page('/organizations/initech')).toContain('&lt;script&gt;');
    expect(await browser.page('/organizations/initech/members')).toContain('>owner</span>');
    expect(await sent(browser, '/organizations/-/new', { ...fields, name: 'init-ech' })).toBe('409');
    expect(await sent(browser, '/organizations/-/new', { ...fields, name: 'hooli', owner: 'nobody9' })).toBe('400');
    expect((await browser.get('/organizations/hooli')).status).toBe(404);
    expect(await sent(browser, '/organizations/initech/settings/deletion', { confirm: 'acme', version: '1' })).toBe('400');
    expect(await sent(browser, '/organizations/initech/settings/deletion', { confirm: 'initech', version: '9' })).toBe('412');
    expect(await sent(browser, '/organizations/initech/settings/deletion', { confirm: 'initech', version: '1' })).toBe(
      '303 /organizations?notice=deleted',
    );
    expect(await sent(await as(owner), '/organizations/-/new', fields)).toBe('403');
  });
});

describe('members', () => {
  test('are invited by an owner, change their role, and leave', async () => {
    const browser = await as(owner);
    const at = '/organizations/acme/members';
    expect(await sent(browser, at, { user: outsider.name, role: 'member' })).toBe(`303 ${at}?notice=invited`);
    expect(await browser.page(at)).toContain('Withdraw');
    expect(await sent(browser, `/organizations/acme/invitations/${outsider.name}/withdrawal`, {})).toContain('303');
    expect(await browser.page(at)).not.toContain('Withdraw');
    const absent = await browser.post(at, { user: 'nobody9', role: 'member' });
    expect([absent.status, (await absent.text()).includes('value="nobody9"')]).toEqual([400, true]);
    expect(await sent(browser, `${at}/${owner.name}`, { role: 'member' })).toBe('409');
    expect(await sent(browser, `${at}/${member.name}`, { role: 'owner' })).toBe(`303 ${at}?notice=saved`);
    expect(await browser.page(`${at}/${owner.name}/removal`)).toContain('Leave acme');
    expect(await sent(browser, `${at}/${owner.name}/removal`, {})).toBe('303 /account?notice=left');
  });

  test('without an account are invited by an administrator, with a link that is shown once', async () => {
    const browser = await browserOf(world);
    const response = await browser.post('/organizations/acme/members', { user: 'carol', role: 'member', new: 'on' });
    expect(await response.text()).toMatch(/https:\/\/registry\.test\/join#[\w.-]+</);
    expect(await browser.page('/organizations/acme/members')).toContain('href="/users/carol"');
    expect(await sent(await as(owner), '/organizations/acme/members', { user: 'dave', role: 'member', new: 'on' })).toBe('403');
  });
});

describe('teams and robots', () => {
  test('have members and rights that owners change', async () => {
    const browser = await as(owner);
    const at = '/organizations/acme/teams';
    expect(await sent(browser, at, { name: 'ops', description: '' })).toBe(`303 ${at}/ops?notice=created`);
    const again = await (await browser.post(at, { name: 'ops', description: '' })).text();
    expect(again).toContain('there is a team of this name already: nothing was created');
    expect(await sent(browser, `${at}/ops/members`, { user: member.name })).toContain('303');
    expect(await sent(browser, `${at}/ops/members`, { user: outsider.name })).toBe('409');
    const right = { version: '0', rights: 'push and pull', repositories: 'acme/*' };
    const review = await (await browser.post(`${at}/ops/policy`, { ...right, review: 'yes' })).text();
    expect([review.includes('acme/api</span>'), review.includes('move tags')]).toEqual([true, true]);
    expect(await browser.page(`${at}/ops`)).toContain('no rights of its own');
    expect(await sent(browser, `${at}/ops/policy`, right)).toBe(`303 ${at}/ops?notice=saved`);
    expect(await browser.page(`${at}/ops`)).toContain('<strong>push and pull</strong> in');
    expect(await sent(browser, `${at}/ops/policy`, right)).toBe('412');
    expect(await sent(browser, `${at}/ops/policy`, { version: '1', rights: 'pull only', repositories: 'other/*' })).toBe('400');
    expect(await sent(browser, `${at}/ops/policy`, { version: '1', remove: '0' })).toContain('303');
    expect(await browser.page(`${at}/ops`)).toContain('no rights of its own');
    expect(await sent(browser, `${at}/ops/deletion`, { confirm: 'ops' })).toBe(`303 ${at}?notice=deleted`);
  });

  test('robots get keys with an access key typed again, are disabled, and are deleted', async () => {
    const browser = await as(owner);
    const at = '/organizations/acme/robots';
    expect(await sent(browser, at, { name: 'deploy', description: 'x' })).toBe(`303 ${at}/deploy?notice=created`);
    expect(await sent(browser, `${at}/deploy/keys`, { name: 'k' })).toBe('401');
    const made = await browser.post(`${at}/deploy/keys`, { name: 'k', password: owner.secret });
    expect(await made.text()).toContain('docker login -u acme+deploy registry.test');
    const page = await browser.page(`${at}/deploy`);
    const key = /href="(\/keys\/[A-Z0-9]{20})"/.exec(page)?.[1] ?? '';
    expect(await browser.page(key)).toContain('robot acme/deploy');
    expect(await sent(browser, `${at}/deploy`, { disabled: 'true', version: '1' })).toContain('303');
    expect(await browser.page(`${at}/deploy`)).toContain('None of its keys work');
    expect(await sent(browser, `${at}/deploy/deletion`, { confirm: 'deploy' })).toBe(`303 ${at}?notice=deleted`);
  });
});
