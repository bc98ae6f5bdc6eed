/** Alternatives to a password: expiring logins, narrowed keys and robots, and how each is revoked. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mintLoginPassword, mintRefreshToken } from '../../../src/auth/tokens.ts';
import { makeKey } from './api.ts';
import { person, type Stage } from './stage.ts';
import { digestIn, refused, same, worked } from './steps.ts';

const LOG_IN_AGAIN = 'this login was ended, or its access key has expired or was revoked: log in again with docker login';

/** The login of the AWS documentation, with curl in place of `aws ecr get-login-password`. */
const LOGIN_BY_PIPE = `curl --silent --show-error --fail -X POST -H "Accept: text/plain" -u "alice:$KEY" \\
  "http://$REGISTRY/api/v1/login-password" | docker login -u AWS --password-stdin "$REGISTRY"`;

export async function expiringLogin(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const desk = engine.desk('script');
  await step('a login password is piped from curl into docker login', async () => {
    worked(await desk.shell(LOGIN_BY_PIPE, { KEY: person(stage, 'alice').key.secret }));
  });
  await step('it pushes and pulls', async () => {
    same('digest', digestIn(await desk.push('two', 'acme/app:aws')), digestIn(await desk.pull('acme/app:aws')));
  });
  await step('a login ends with the key that it was made with, and docker says what to do', async () => {
    const { api } = person(stage, 'alice');
    const key = await makeKey(api, { name: 'for a script' });
    worked(await desk.shell(LOGIN_BY_PIPE, { KEY: key.secret }));
    digestIn(await desk.push('one', 'acme/app:aws'));
    await api.call('DELETE', `/keys/${key.id}`);
    refused(await desk.push('two', 'acme/app:aws'), 'unauthorized: ', LOG_IN_AGAIN);
  });
  await step('a login password whose time is over says how to get another', async () => {
    const said = refused(await engine.desk('late').login('AWS', await passwordOfYesterday(stage)), 'this login has expired');
    if (!said.includes('/api/v1/login-password')) throw new Error(said);
  });
}

export async function expiredLogin(stage: Stage): Promise<void> {
  const { step, engine, registry } = stage;
  const desk = engine.desk('late');
  const words = ['unauthorized: this login has expired', `docker login ${registry.host}`, `docker logout ${registry.host}`];
  await step('a login that docker keeps and that has expired says so on push and pull', async () => {
    await desk.keep({ auth: btoa('AWS:'), identitytoken: await loginOfLastMonth(stage) });
    refused(await desk.push('one', 'acme/app:late'), ...words);
    refused(await desk.pull('acme/app:1.0'), ...words);
  });
  await step('a public image is refused too, with the command that helps', async () => {
    await person(stage, 'alice').api.call('PATCH', '/repositories/acme/app', { visibility: 'public' });
    refused(await desk.pull('acme/app:1.0'), ...words);
    worked(await desk.logout());
    digestIn(await desk.pull('acme/app:1.0'));
    await person(stage, 'alice').api.call('PATCH', '/repositories/acme/app', { visibility: 'private' });
  });
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** A login password that has expired, made with the registry's own function and an earlier time. */
async function passwordOfYesterday(stage: Stage): Promise<string> {
  return (await mintLoginPassword(await secretsOf(stage), ALICE, 900, daysAgo(stage, 1))).token;
}

async function loginOfLastMonth(stage: Stage): Promise<string> {
  const login = { id: crypto.randomUUID(), generation: 0 };
  return (await mintRefreshToken(await secretsOf(stage), ALICE, login, daysAgo(stage, 31))).token;
}

const ALICE = { subject: 'user:alice', credentialOrigin: { epoch: 0 }, until: null };

async function secretsOf({ registry }: Stage): Promise<{ REGISTRY_SECRET: string }> {
  return { REGISTRY_SECRET: (await readFile(join(registry.dataDir, 'secret'), 'utf8')).trim() };
}

function daysAgo({ registry }: Stage, days: number): { service: string; now: number } {
  return { service: registry.host, now: Date.now() - days * DAY_MS };
}

export async function narrowedKey(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const desk = engine.desk('narrowed');
  await step('a key for pulling one repository pulls it', async () => {
    const statements = [{ actions: 'pull only', repositories: ['acme/app'] }];
    const key = await makeKey(person(stage, 'alice').api, { name: 'for a server', statements, days: 1 });
    worked(await desk.login('alice', key.secret));
    digestIn(await desk.pull('acme/app:1.0'));
  });
  await step(
    'it does not push there, and not pull elsewhere, though alice may: docker says that the key is narrowed',
    async () => {
      refused(await desk.push('three', 'acme/app:mine'), 'this access key is narrowed', 'the key may not push to it');
      refused(await desk.pull('acme/tool:1.0'), 'this access key is narrowed', 'the key may not pull it');
    },
  );
}

const ROBOT = '/organizations/acme/robots/ci';

export async function robot(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  await step('a robot logs in as acme+ci, and pushes', async () => {
    const { api } = person(stage, 'alice');
    await api.call('PUT', ROBOT, { description: 'builds' });
    await api.call('PUT', `${ROBOT}/policy`, { statements: [{ actions: 'push and pull', repositories: ['acme/app'] }] });
    const key = await makeKey(api, { name: 'of the build machine' }, `${ROBOT}/keys`);
    worked(await engine.desk('robot').login('acme+ci', key.secret));
    digestIn(await engine.desk('robot').push('three', 'acme/app:built'));
  });
  await step('it pushes nowhere else', async () => {
    refused(await engine.desk('robot').push('three', 'acme/tool:built'), 'denied: ');
  });
}

export async function revocation(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const desk = engine.desk('laptop');
  let id = '';
  await step('alice logs in on a laptop, with a key of its own', async () => {
    const key = await makeKey(person(stage, 'alice').api, { name: 'laptop' });
    id = key.id;
    worked(await desk.login('alice', key.secret));
    digestIn(await desk.push('one', 'acme/app:laptop'));
  });
  await step('the key is revoked: the next push fails at once', async () => {
    await person(stage, 'alice').api.call('DELETE', `/keys/${id}`);
    refused(await desk.push('two', 'acme/app:laptop'), 'unauthorized: ', LOG_IN_AGAIN);
  });
  await step('alice at her desk goes on', async () => {
    digestIn(await person(stage, 'alice').desk.push('two', 'acme/app:laptop'));
  });
}

export async function logOutEverywhere(stage: Stage): Promise<void> {
  const { step } = stage;
  await step('docker has kept a token of a login, and not the key', async () => {
    const { identitytoken, auth = '' } = await person(stage, 'bob').desk.kept();
    if (!identitytoken) throw new Error('there is no identity token');
    if (atob(auth).includes(person(stage, 'bob').key.secret)) throw new Error('the key is there');
    digestIn(await person(stage, 'bob').desk.pull('acme/app:1.0'));
  });
  await step('bob logs out everywhere: docker is refused at once', async () => {
    const { api, desk } = person(stage, 'bob');
    await api.call('DELETE', '/me/logins');
    refused(await desk.pull('acme/app:1.0'), LOG_IN_AGAIN);
    refused(await desk.push('one', 'acme/app:1.2'), LOG_IN_AGAIN);
  });
  await step('he logs in again with the same key', async () => {
    const { desk, key } = person(stage, 'bob');
    worked(await desk.login('bob', key.secret));
    digestIn(await desk.push('one', 'acme/app:1.2'));
  });
}
