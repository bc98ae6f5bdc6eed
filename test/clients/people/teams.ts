/**
 * How people use registries, with the unchanged docker: an administrator, an organization with a team that pushes and one
 * that pulls, an outsider, an anonymous caller, and a repository that is public for a while.
 */
import { apiOf, type Key } from './api.ts';
import { type Person, person, type Stage } from './stage.ts';
import { digestIn, refused, same, worked } from './steps.ts';

const PEOPLE = ['alice', 'bob', 'carol', 'dave'];

export async function bootstrap({ step, engine, registry }: Stage, password: string): Promise<void> {
  await step('the administrator logs in with the printed password', async () => {
    worked(await engine.desk('admin').login('admin', password));
  });
  await step('a wrong password is refused', async () => {
    refused(await engine.desk('nobody').login('admin', `${password}x`), 'unauthorized: wrong user name or password');
  });
  await step('the API knows the administrator', async () => {
    same('subject', (await apiOf(registry.url, password).call<{ subject: string }>('GET', '/me')).subject, 'user:admin');
  });
}

export async function invitations(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  for (const name of PEOPLE) {
    await step(`${name} is invited, accepts and logs in with the access key`, async () => {
      stage.keys.set(name, await join(stage, name));
      const { desk, key } = person(stage, name);
      worked(await desk.login(name, key.secret));
    });
  }
  await step("alice's key under bob's name is refused", async () => {
    refused(
      await engine.desk('nobody').login('bob', person(stage, 'alice').key.secret),
      'unauthorized: wrong user name or password',
    );
  });
  await step('a key with a wrong letter is refused', async () => {
    const { secret } = person(stage, 'alice').key;
    const wrong = secret.slice(0, -2) + (secret.endsWith('aa') ? 'bb' : 'aa');
    refused(await engine.desk('nobody').login('alice', wrong), 'unauthorized: wrong user name or password');
  });
}

interface Invited {
  invitation: { token: string };
}

async function join({ admin, registry }: Stage, name: string): Promise<Key> {
  const { invitation } = await admin.call<Invited>('PUT', `/users/${name}`, {});
  const { token } = invitation;
  const { key } = await apiOf(registry.url).call<{ key: Key }>('POST', '/invitations/accept', { token });
  return key;
}

const ADMINS = '/organizations/acme/teams/image-admins';
const USERS = '/organizations/acme/teams/image-users';

export async function organization(stage: Stage): Promise<void> {
  const { step, admin } = stage;
  await step('the administrator makes an organization and its owner', async () => {
    await admin.call('PUT', '/organizations/acme', {});
    await admin.call('PUT', '/organizations/acme/members/alice', { role: 'owner' });
  });
  await step('its owner makes a team that pushes and pulls', async () => {
    await team(stage, ADMINS, 'bob', 'push and pull');
  });
  await step('its owner makes a team that pulls', async () => {
    await team(stage, USERS, 'carol', 'pull only');
  });
}

/** Alice creates a team and adds the member, who accepts the invitation to the organization. */
async function team(stage: Stage, path: string, member: string, actions: string): Promise<void> {
  const owner = person(stage, 'alice').api;
  await owner.call('PUT', `/organizations/acme/members/${member}`, { role: 'member' });
  await person(stage, member).api.call('POST', '/me/invitations/acme/accept', {});
  await owner.call('PUT', path, {});
  await owner.call('PUT', `${path}/members/${member}`, {});
  await owner.call('PUT', `${path}/policy`, { statements: [{ actions, repositories: ['acme/*'] }] });
}

export async function pushAndPull(stage: Stage): Promise<void> {
  const { step } = stage;
  let digest = '';
  await step('alice, an owner, pushes', async () => {
    digest = digestIn(await person(stage, 'alice').desk.push('one', 'acme/app:1.0'));
  });
  await step('bob, of the team that pushes, pushes a new tag', async () => {
    digestIn(await person(stage, 'bob').desk.push('two', 'acme/app:1.1'));
  });
  await step('bob moves a tag', async () => {
    const { desk } = person(stage, 'bob');
    digestIn(await desk.push('one', 'acme/app:latest'));
    same('digest', digestIn(await desk.push('two', 'acme/app:latest')), digestIn(await desk.pull('acme/app:1.1')));
  });
  await step('carol, of the team that pulls, pulls what alice has pushed', async () => {
    await stage.engine.forgetImages();
    same('digest', digestIn(await person(stage, 'carol').desk.pull('acme/app:1.0')), digest);
  });
  await carolPushes(stage);
  await bobCreates(stage);
}

const NO_PUSH = 'you may pull acme/app, but the right to push is missing';
const ASK_ALICE = 'an owner of acme (alice) or an administrator can grant it';

async function carolPushes(stage: Stage): Promise<void> {
  const { step, engine, registry } = stage;
  await step('carol pushes content that is there: docker says which right is missing', async () => {
    refused(await person(stage, 'carol').desk.push('one', 'acme/app:mine'), NO_PUSH, ASK_ALICE);
  });
  await step('carol pushes new content: docker says which right is missing, and who can grant it', async () => {
    refused(await person(stage, 'carol').desk.push('three', 'acme/app:mine'), NO_PUSH, ASK_ALICE);
  });
  await step('skopeo says it too', async () => {
    const { key } = person(stage, 'carol');
    const to = ['--dest-tls-verify=false', `--dest-creds=carol:${key.secret}`, `docker://${registry.host}/acme/app:mine`];
    refused(await engine.skopeo('copy', `${engine.layout}:three`, ...to), NO_PUSH);
  });
}

async function bobCreates(stage: Stage): Promise<void> {
  const { step } = stage;
  await step('bob cannot push to a repository that is not there: docker says which right is missing', async () => {
    refused(
      await person(stage, 'bob').desk.push('one', 'acme/tool:1.0'),
      'name unknown: this repository does not exist, and a push of yours may not create it',
    );
  });
  await step('bob may, once his team may create', async () => {
    const { api } = person(stage, 'alice');
    const statements = ['push and pull', ['create']].map((actions) => ({ actions, repositories: ['acme/*'] }));
    await api.call('PUT', `${ADMINS}/policy`, { statements });
    digestIn(await person(stage, 'bob').desk.push('one', 'acme/tool:1.0'));
  });
}

export async function outsiders(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const stranger = engine.desk('stranger');
  const LOG_IN = `denied: log in first: docker login ${stage.registry.host}`;
  await step('dave, of no team, cannot pull; what is there and what is not look the same', () =>
    sameRefusal('denied: the repository does not exist, or you may not pull it', (name) =>
      person(stage, 'dave').desk.pull(name),
    ),
  );
  await step('dave cannot push, and is told where he may; what is there and what is not look the same', () =>
    sameRefusal('denied: the repository does not exist, or you may not push to it. You may push to dave/*', (name) =>
      person(stage, 'dave').desk.push('one', name),
    ),
  );
  await step('without a login nothing is pulled, and docker says how to log in', () =>
    sameRefusal(LOG_IN, (name) => stranger.pull(name)),
  );
  await step('without a login nothing is pushed, and docker says how to log in', () =>
    sameRefusal(LOG_IN, (name) => stranger.push('one', name)),
  );
  await step('carol logs out: nothing is pulled until she logs in again', async () => {
    const { desk, key } = person(stage, 'carol');
    worked(await desk.logout());
    refused(await desk.pull('acme/app:1.0'), 'pull access denied');
    worked(await desk.login('carol', key.secret));
    digestIn(await desk.pull('acme/app:1.0'));
  });
  await step('skopeo tells dave the same', async () => {
    const { key } = person(stage, 'dave');
    const credentials = ['--tls-verify=false', `--creds=dave:${key.secret}`];
    const words = 'denied: the repository does not exist, or you may not pull it';
    await sameRefusal(words, (name) => engine.skopeo('inspect', ...credentials, `docker://${stage.registry.host}/${name}`));
  });
}

/** Expects the same refusal for an existing private repository and for a repository that does not exist. */
async function sameRefusal(words: string, ask: (name: string) => ReturnType<Person['desk']['pull']>): Promise<void> {
  const [there, not] = ['acme/app', 'acme/does-not-exist'];
  const said = refused(await ask(`${there}:1.0`), words);
  same('stderr', refused(await ask(`${not}:1.0`), words).replaceAll(not, there), said);
}

export async function openToAll(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const stranger = engine.desk('stranger');
  await step('alice makes the repository public: anybody pulls', async () => {
    await person(stage, 'alice').api.call('PATCH', '/repositories/acme/app', { visibility: 'public' });
    await engine.forgetImages();
    digestIn(await stranger.pull('acme/app:1.0'));
  });
  await step('of a public repository, nobody pushes without a login', async () => {
    refused(await stranger.push('three', 'acme/app:mine'), 'denied: ');
  });
  await step('dave may pull it now, and not push', async () => {
    const { desk } = person(stage, 'dave');
    digestIn(await desk.pull('acme/app:1.0'));
    refused(await desk.push('three', 'acme/app:mine'), NO_PUSH);
  });
  await step('private again: without a login it is refused', async () => {
    await person(stage, 'alice').api.call('PATCH', '/repositories/acme/app', { visibility: 'private' });
    refused(await stranger.pull('acme/app:1.0'), 'pull access denied');
  });
}
