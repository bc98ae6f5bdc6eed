/** Operations refuse malformed input by themselves, so that a handler that forgets a check cannot store it. */
import { beforeAll, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import { changeKey, createKey, createRobotKey, rotateKey } from '../../src/app/keys.ts';
import { putLifecycle } from '../../src/app/lifecycle.ts';
import { createLoginPassword } from '../../src/app/login.ts';
import { describeOrganization, putMember, putOrganization, putRobot, putTeam } from '../../src/app/organizations.ts';
import { changeUser, inviteUser as invite } from '../../src/app/people.ts';
import { savePolicy } from '../../src/app/policies.ts';
import { changeRepository, putRepository } from '../../src/app/repositories.ts';
import { changeWebhook, createWebhook } from '../../src/app/subscriptions.ts';
import { putTagMutability } from '../../src/app/tags.ts';
import { putTrustRule } from '../../src/app/trust-rules.ts';
import { putOrganizationQuota, putUserQuota } from '../../src/app/usage.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import { findSubscription, type Subscription } from '../../src/webhooks/subscriptions.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import { api, type Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const REPOSITORY = 'acme/api' as RepositoryName;
const ALLOW = { effect: 'allow', actions: ['pull'], repositories: ['acme/*'] };

let world: World;
let call: Call;
let owner: Person;
let robot: Person;
let webhook: Subscription;

beforeAll(async () => {
  world = await newWorld();
  ({ owner } = await makeAcme(world));
  robot = await makeRobot(world, 'acme', 'ci');
  expect((await api(world, 'PUT', `/repositories/${REPOSITORY}`, { body: {} })).status).toBe(201);
  call = await callAs(world, 'administrator', [REPOSITORY]);
  const options = { requestOrigin: call.origin, idempotency: null };
  const made = await createWebhook(
    call,
    `repository:${REPOSITORY}`,
    { url: 'https://example.com/', format: 'native' },
    options,
  );
  webhook = (await findSubscription(world.env, made.webhook.id)) as Subscription;
});

/** Input that a caller in TypeScript could not pass without a cast. JSON from outside can be anything. */
function anything<T>(value: unknown): T {
  return value as T;
}

const LONG = 'x'.repeat(200_000);
const rule = (change: object) =>
  anything<Parameters<typeof putTrustRule>[2]>({
    issuer: 'https://token.actions.githubusercontent.com',
    claims: { repository_id: '1' },
    statements: [ALLOW],
    lifetime: 3600,
    disabled: false,
    ...change,
  });
const hook = (change: object) =>
  anything<Parameters<typeof createWebhook>[2]>({ url: 'https://example.com/', format: 'native', ...change });

const MALFORMED: Record<string, () => Promise<unknown>> = {
  "a repository's long description": () => putRepository(call, 'acme/new' as RepositoryName, { description: LONG }, null),
  "a repository's long overview": () => changeRepository(call, REPOSITORY, { overview: LONG }, null),
  "a repository's visibility": () => changeRepository(call, REPOSITORY, { visibility: anything('secret') }, null),
  "a user's long description": () => invite(call, 'user:new', { description: LONG }, null),
  "a user's name": () => invite(call, 'user:New User', {}, null),
  "a subject that is no user's": () => invite(call, 'robot:acme/new', {}, null),
  "a changed user's long description": () => changeUser(call, owner.subject, { description: LONG }, null),
  "a changed user's role": () => changeUser(call, owner.subject, { administrator: anything('yes') }, null),
  "an organization's long description": () => putOrganization(call, 'other', LONG, null),
  "an organization's description of two lines": () => describeOrganization(call, 'acme', 'one\ntwo', null),
  "an organization's name": () => putOrganization(call, 'other/er', undefined, null),
  "a member's role": () => putMember(call, 'acme', { user: owner.name, role: anything('king') }),
  "a team's long description": () => putTeam(call, 'team:acme/dev', LONG, null),
  "a team's name": () => putTeam(call, 'team:acme/D E V', undefined, null),
  "a subject that is no team's": () => putTeam(call, 'robot:acme/dev', undefined, null),
  "a robot's long description": () => putRobot(call, robot.subject, { description: LONG }, null),
  "a robot's name": () => putRobot(call, 'robot:acme/a/b', {}, null),
  "a key's empty name": () => createKey(call, { name: ' ' }, null),
  "a key's long name": () => createRobotKey(call, robot.subject, { name: LONG }, null),
  "a key's days": () => createKey(call, { name: 'key', days: 0.5 }, null),
  "a key's statements": () =>
    createKey(call, { name: 'key', statements: anything([{ ...ALLOW, repositories: ['A B'] }]) }, null),
  "a changed key's name": () => changeKey(call, robot.keyId, { name: 'a\u202eb' }, null),
  "a rotated key's overlap": () => rotateKey(call, robot.keyId, { overlap: -1 }, null),
  "a rotated key's long overlap": () => rotateKey(call, robot.keyId, { overlap: 1e9 }, null),
  "a login password's lifetime": async () => createLoginPassword(await callAs(world, owner), 1),
  "a policy's action": () => savePolicy(call, robot.subject, anything([{ ...ALLOW, actions: ['everything'] }]), null),
  "a policy's pattern": () => savePolicy(call, robot.subject, anything([{ ...ALLOW, repositories: ['acme/a b'] }]), null),
  "a policy's principal": () =>
    savePolicy(call, `repository:${REPOSITORY}`, anything([{ effect: 'allow', actions: ['pull'], principals: ['me'] }]), null),
  'a policy of many statements': () => savePolicy(call, robot.subject, anything(Array(51).fill(ALLOW)), null),
  "a policy's principals where repositories belong": () =>
    savePolicy(call, robot.subject, anything([{ effect: 'allow', actions: ['pull'], principals: ['*'] }]), null),
  "tags beside an action that they don't limit": () =>
    savePolicy(call, robot.subject, anything([{ ...ALLOW, tags: ['v*'] }]), null),
  "a trust rule's long description": () => putTrustRule(call, 'ci:acme/deploy', rule({ description: LONG }), null),
  "a trust rule's lifetime": () => putTrustRule(call, 'ci:acme/deploy', rule({ lifetime: 1e9 }), null),
  "a trust rule's patterns": () =>
    putTrustRule(call, 'ci:acme/deploy', rule({ statements: [{ ...ALLOW, repositories: Array(21).fill('acme/*') }] }), null),
  "a trust rule's name": () => putTrustRule(call, 'ci:acme/De ploy', rule({}), null),
  "a webhook's long description": () =>
    createWebhook(call, 'organization:acme', hook({ description: LONG }), { requestOrigin: call.origin, idempotency: null }),
  "a webhook's type": () =>
    createWebhook(call, 'organization:acme', hook({ types: ['all'] }), { requestOrigin: call.origin, idempotency: null }),
  "a webhook's format": () =>
    createWebhook(call, 'organization:acme', hook({ format: 'xml' }), { requestOrigin: call.origin, idempotency: null }),
  "a webhook's tags": () =>
    createWebhook(call, 'organization:acme', hook({ tags: Array(51).fill('v*') }), {
      requestOrigin: call.origin,
      idempotency: null,
    }),
  "a changed webhook's description": () =>
    changeWebhook(call, webhook, { description: 'one\ntwo' }, { requestOrigin: call.origin, ifVersion: null }),
  "a changed webhook's repositories": () =>
    changeWebhook(call, webhook, { repositories: ['A B'] }, { requestOrigin: call.origin, ifVersion: null }),
  "a lifecycle policy's rules": () => putLifecycle(call, REPOSITORY, anything({ rules: [] }), null),
  "a lifecycle rule's count": () =>
    putLifecycle(
      call,
      REPOSITORY,
      anything({
        rules: [
          {
            rulePriority: 1,
            selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: -1 },
            action: { type: 'expire' },
          },
        ],
      }),
      null,
    ),
  "a mutability's value": () => putTagMutability(call, REPOSITORY, anything({ value: 'SOMETIMES', exclusions: [] }), null),
  "a mutability's filter": () =>
    putTagMutability(
      call,
      REPOSITORY,
      anything({ value: 'IMMUTABLE_WITH_EXCLUSION', exclusions: [{ filterType: 'WILDCARD', filter: 'a b' }] }),
      null,
    ),
  "a quota's bytes": () => putUserQuota(call, owner.name, { maxBytes: -1 }, null),
  "a quota's percentage": () => putOrganizationQuota(call, 'acme', { maxBytes: 1, warnPercent: 300 }, null),
};

test.each(Object.entries(MALFORMED))('%s is refused and nothing is stored', async (_, operation) => {
  expect(await reasonOf(world, operation)).toBe('request-invalid');
});
