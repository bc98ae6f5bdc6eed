/**
 * For every route that can change something (from the table of routes): the events that it records and their subjects, that the
 * events are announced once, and that a refused request records and announces nothing.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { QUIET_TYPES } from '../../src/events/event.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { CAUSES } from '../../src/vocabulary/causes.ts';
import { type EventType, isAboutImage } from '../../src/vocabulary/event-types.ts';
import { type Content, contentOf, IMAGE_TYPE, noise, pushBlob, pushImage, textOf } from '../world/images.ts';
import { makeOrganization, makeRobot, makeTeam } from '../world/organizations.ts';
import { api, invitationOf, inviteUser, type Person } from '../world/people.ts';
import { announcedTo, newestOf, recordAfter } from '../world/reading.ts';
import { type Issuer, newIssuer } from '../world/token-issuer.ts';
import { begin, patch, sized } from '../world/uploads.ts';
import { builtOnce, type Send, type World } from '../world/world.ts';

const NO_DIGEST = `sha256:${'0'.repeat(64)}`;
const NO_KEY = 'BRTHAAAAAAAAAAAAAAAA';
const NO_WEBHOOK = `wh_${'a'.repeat(20)}`;
const HOOK = { url: 'https://hooks.example.com/in' };

/** A request that succeeds, and variations that are refused. */
interface Change {
  path: string;
  body?: Send['body'];
  type?: string;
  /** The Authorization header; the administrator's by default. */
  as?: string;
  /** The expected events in order, each as `<subject>: <type>`. */
  records: string[];
  /** The number of batches, if there are several. Each is announced, and the last announcement has the newest event. */
  batches?: number;
  /** Callers who are refused. Anonymous callers may only use routes for `anyone`. */
  notFor: (string | null)[];
  /** Bodies that are refused. */
  wrong?: Send['body'][];
  /** Paths of the same request that are refused, because the content does not exist or cannot be changed. */
  absent?: string[];
}

interface Stage {
  alice: Person;
  bob: Person;
  olga: Person;
  robot: Person;
  image: Content;
  /** A blob in acme/api that belongs to no image. */
  loose: Content;
  /** A blob that is only in acme/base. */
  base: Content;
  /** A blob that is in no repository. */
  next: Content;
  rule: object;
}

let world: World;
let stage: Stage;
let issuer: Issuer;

/** Alice owns acme, and Bob is a member of it and of acme/dev. Olga belongs to neither. */
const build = builtOnce(async (made) => {
  world = made;
  const [alice, bob, olga] = [
    await inviteUser(world, 'alice'),
    await inviteUser(world, 'bob'),
    await inviteUser(world, 'olga'),
  ];
  await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
  await makeTeam(world, 'acme', 'dev', [bob]);
  const robot = await makeRobot(world, 'acme', 'ci');
  const image = await pushImage(world, 'acme/api', 'v1');
  const loose = await pushBlob(world, 'acme/api', noise(300, 50));
  const base = await pushBlob(world, 'acme/base', noise(300, 51));
  issuer = await newIssuer();
  issuer.answers[HOOK.url] = () => new Response(null, { status: 204 });
  reachIssuer();
  const rule = {
    issuer: issuer.url,
    claims: { project: '42' },
    statements: [{ actions: 'push and pull', repositories: ['acme/*'] }],
  };
  await api(world, 'PUT', '/organizations/acme/trust-rules/deploy', { body: rule });
  await api(world, 'PUT', '/trust-rules/deploy', { body: rule });
  stage = { alice, bob, olga, robot, image, loose, base, next: await contentOf(noise(300, 52)), rule };
});

/** From now on the Worker's network is the issuer alone. */
function reachIssuer(): void {
  vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
}

beforeEach(async () => {
  world = await build();
  reachIssuer();
});

const STATEMENTS = { statements: [{ actions: ['pull'], repositories: ['acme/*'] }] };

/** A change through the management API with a JSON body. It is refused if the body has an unknown field. */
function json(path: string, body: object, change: Omit<Change, 'path' | 'body' | 'wrong'>): Change {
  const wrong = ['{', '[]', JSON.stringify({ ...body, surprise: true })];
  return { path: `/api/v1${path}`, body: JSON.stringify(body), type: 'application/json', wrong, ...change };
}

function bare(path: string, { absent = [], ...change }: Omit<Change, 'path'>): Change {
  return { path: `/api/v1${path}`, absent: absent.map((each) => `/api/v1${each}`), ...change };
}

const CHANGES: Record<string, (stage: Stage) => Change | Promise<Change>> = {
  'PUT /v2/:name{.+}/manifests/:reference': async ({ olga, bob, image }) => ({
    path: '/v2/acme/api/manifests/v2',
    body: textOf(image),
    type: IMAGE_TYPE,
    records: ['acme/api: tag.created'],
    notFor: [null, olga.basic, bob.basic],
    wrong: ['garbage', textOf(image).replace(/sha256:[0-9a-f]{64}/, NO_DIGEST)],
    absent: ['/v2/acme/none/manifests/v2'],
  }),
  'DELETE /v2/:name{.+}/manifests/:reference': ({ olga, bob, image }) => ({
    path: `/v2/acme/api/manifests/${image.digest}`,
    records: ['acme/api: tag.deleted', 'acme/api: manifest.deleted'],
    notFor: [null, olga.basic, bob.basic],
    absent: ['/v2/acme/api/manifests/v9', `/v2/acme/api/manifests/${NO_DIGEST}`, '/v2/acme/none/manifests/v1'],
  }),
  'POST /v2/:name{.+}/blobs/uploads': ({ olga, bob, base }) => ({
    path: `/v2/acme/api/blobs/uploads/?mount=${base.digest}&from=acme/base`,
    records: ['acme/api: blob.mounted'],
    notFor: [null, olga.basic, bob.basic],
    absent: [`/v2/acme/new/blobs/uploads/?digest=${NO_DIGEST}`, '/v2/acme/new/blobs/uploads/?digest=none'],
  }),
  'PATCH /v2/:name{.+}/blobs/uploads/:upload': async ({ olga, bob, next }) => ({
    path: await begin(world, 'acme/new'),
    body: next.bytes,
    records: [],
    notFor: [null, olga.basic, bob.basic],
    absent: ['/v2/acme/new/blobs/uploads/none'],
  }),
  'PUT /v2/:name{.+}/blobs/uploads/:upload': async ({ olga, bob, next }) => ({
    path: `${await begin(world, 'acme/new')}?digest=${next.digest}`,
    body: next.bytes,
    records: ['acme/new: repository.created'],
    notFor: [null, olga.basic, bob.basic],
    wrong: ['other bytes'],
    absent: [`/v2/acme/new/blobs/uploads/none?digest=${next.digest}`],
  }),
  'DELETE /v2/:name{.+}/blobs/uploads/:upload': async ({ olga, bob, next }) => {
    const path = await begin(world, 'acme/new');
    await patch(world, path, sized(next.bytes));
    return { path, records: [], notFor: [null, olga.basic, bob.basic], absent: ['/v2/acme/new/blobs/uploads/none'] };
  },
  'DELETE /v2/:name{.+}/blobs/:digest': ({ olga, bob, image, loose, base }) => ({
    path: `/v2/acme/api/blobs/${loose.digest}`,
    records: ['acme/api: blob.deleted'],
    notFor: [null, olga.basic, bob.basic],
    // Statements about an image, about another repository, and about none.
    absent: [layerOf(image), base.digest, NO_DIGEST].map((digest) => `/v2/acme/api/blobs/${digest}`),
  }),
  'POST /token': ({ alice }) => ({
    path: '/token',
    body: `grant_type=password&service=registry.test&client_id=test&username=alice&password=${alice.secret}&access_type=offline`,
    type: 'application/x-www-form-urlencoded',
    records: ['logins:: login.succeeded'],
    notFor: [],
    wrong: ['grant_type=password&username=alice&password=wrong', 'grant_type=none', 'grant_type=refresh_token&refresh_token=x'],
  }),

  'DELETE /api/v1/me/logins': ({ alice }) =>
    bare('/me/logins', { as: alice.basic, records: [': login.ended'], notFor: [null] }),
  'POST /api/v1/login-password': ({ alice }) =>
    json('/login-password', {}, { as: alice.basic, records: ['logins:: login.issued'], notFor: [null] }),

  'PUT /api/v1/users/:user': ({ alice }) =>
    json('/users/carol', { description: 'new' }, { records: [': user.invited'], notFor: [null, alice.basic] }),
  'PATCH /api/v1/users/:user': ({ alice }) =>
    json(
      '/users/bob',
      { disabled: true },
      { records: [': user.changed'], notFor: [null, alice.basic], absent: ['/api/v1/users/nobody-here'] },
    ),
  'POST /api/v1/users/:user/invitation': ({ alice }) =>
    bare('/users/bob/invitation', {
      records: [': user.invited'],
      notFor: [null, alice.basic],
      absent: ['/users/nobody-here/invitation'],
    }),
  'DELETE /api/v1/users/:user/logins': ({ alice }) =>
    bare('/users/bob/logins?keys=true', {
      records: [': login.ended', ': key.revoked'],
      notFor: [null, alice.basic],
      absent: ['/users/nobody-here/logins'],
    }),
  'PUT /api/v1/users/:user/policy': ({ alice }) =>
    json('/users/bob/policy', STATEMENTS, {
      records: [': policy.saved'],
      notFor: [null, alice.basic],
      absent: ['/api/v1/users/nobody-here/policy'],
    }),
  'POST /api/v1/invitations/accept': async () => {
    const token = await invitationOf(world, 'carol');
    const change = json('/invitations/accept', { token }, { records: [': user.joined', ': key.created'], notFor: [] });
    return { ...change, wrong: [...(change.wrong ?? []), JSON.stringify({ token: `${token}x` }), '{"token":"none"}'] };
  },

  'PUT /api/v1/organizations/:organization': ({ alice }) =>
    json(
      '/organizations/bravo',
      { description: 'new' },
      {
        records: ['organization:bravo: organization.created'],
        notFor: [null, alice.basic],
        absent: ['/api/v1/organizations/alice', '/api/v1/organizations/-'],
      },
    ),
  'PATCH /api/v1/organizations/:organization': ({ alice, bob, olga }) =>
    json(
      '/organizations/acme',
      { description: 'new' },
      {
        as: alice.basic,
        records: ['organization:acme: organization.changed'],
        notFor: [null, bob.basic, olga.basic],
        absent: ['/api/v1/organizations/nobody'],
      },
    ),
  'DELETE /api/v1/organizations/:organization': async ({ alice, bob, rule }) => {
    const statements = [{ actions: ['pull'], repositories: ['bravo/*'] }];
    await makeOrganization(world, 'bravo', { owners: [alice], members: [bob] });
    await makeTeam(world, 'bravo', 'dev', [bob], statements);
    await makeRobot(world, 'bravo', 'ci', statements);
    await api(world, 'PUT', '/organizations/bravo/trust-rules/deploy', { body: { ...rule, statements } });
    return bare('/organizations/bravo', {
      records: ['team.deleted', 'key.revoked', 'robot.deleted', 'trust-rule.deleted', 'organization.deleted'].map(
        (type) => `organization:bravo: ${type}`,
      ),
      notFor: [null, alice.basic],
      // The organization acme has repositories, so it cannot be deleted.
      absent: ['/organizations/nobody', '/organizations/acme'],
    });
  },
  'PUT /api/v1/organizations/:organization/members/:user': ({ alice, bob, olga }) =>
    json(
      '/organizations/acme/members/olga',
      { role: 'member' },
      {
        as: alice.basic,
        records: ['organization:acme: member.invited'],
        notFor: [null, bob.basic, olga.basic],
        // The last owner cannot be removed.
        absent: ['acme/members/nobody-here', 'nobody/members/olga', 'acme/members/alice'].map(below),
      },
    ),
  'DELETE /api/v1/organizations/:organization/invitations/:user': async ({ alice, bob, olga }) => {
    await api(world, 'PUT', '/organizations/acme/members/olga', { as: alice.basic, body: { role: 'member' } });
    return bare('/organizations/acme/invitations/olga', {
      as: alice.basic,
      records: ['organization:acme: member.uninvited'],
      notFor: [null, bob.basic, olga.basic],
      absent: ['/organizations/nobody/invitations/-'],
    });
  },
  'POST /api/v1/me/invitations/:organization/accept': async ({ alice, robot, olga }) => {
    await api(world, 'PUT', '/organizations/acme/members/olga', { as: alice.basic, body: { role: 'member' } });
    return json(
      '/me/invitations/acme/accept',
      {},
      {
        as: olga.basic,
        records: ['organization:acme: member.changed'],
        notFor: [null, robot.basic],
        absent: ['/api/v1/me/invitations/nobody/accept'],
      },
    );
  },
  'DELETE /api/v1/me/invitations/:organization': async ({ alice, robot, olga }) => {
    await api(world, 'PUT', '/organizations/acme/members/olga', { as: alice.basic, body: { role: 'member' } });
    return bare('/me/invitations/acme', {
      as: olga.basic,
      records: ['organization:acme: member.uninvited'],
      notFor: [null, robot.basic],
      absent: ['/me/invitations/-'],
    });
  },
  'DELETE /api/v1/organizations/:organization/members/:user': ({ alice, olga }) =>
    bare('/organizations/acme/members/bob', {
      as: alice.basic,
      records: ['organization:acme: team-member.removed', 'organization:acme: member.removed'],
      notFor: [null, olga.basic],
      absent: ['/organizations/acme/members/olga', '/organizations/acme/members/alice', '/organizations/nobody/members/bob'],
    }),
  'PUT /api/v1/organizations/:organization/teams/:team': ({ alice, bob, olga }) =>
    json(
      '/organizations/acme/teams/ops',
      { description: 'new' },
      {
        as: alice.basic,
        records: ['organization:acme: team.created'],
        notFor: [null, bob.basic, olga.basic],
        absent: ['nobody/teams/ops', 'acme/teams/-'].map(below),
      },
    ),
  'DELETE /api/v1/organizations/:organization/teams/:team': ({ alice, bob, olga }) =>
    bare('/organizations/acme/teams/dev', {
      as: alice.basic,
      records: ['organization:acme: team.deleted'],
      notFor: [null, bob.basic, olga.basic],
      absent: ['/organizations/acme/teams/none', '/organizations/nobody/teams/dev'],
    }),
  'PUT /api/v1/organizations/:organization/teams/:team/members/:user': ({ alice, bob, olga }) =>
    json(
      '/organizations/acme/teams/dev/members/alice',
      {},
      {
        as: alice.basic,
        records: ['organization:acme: team-member.added'],
        notFor: [null, bob.basic, olga.basic],
        absent: ['acme/teams/none/members/alice', 'acme/teams/dev/members/olga', 'nobody/teams/dev/members/bob'].map(below),
      },
    ),
  'DELETE /api/v1/organizations/:organization/teams/:team/members/:user': ({ alice, olga }) =>
    bare('/organizations/acme/teams/dev/members/bob', {
      as: alice.basic,
      records: ['organization:acme: team-member.removed'],
      notFor: [null, olga.basic],
      absent: ['/organizations/acme/teams/dev/members/alice', '/organizations/acme/teams/none/members/bob'],
    }),
  'PUT /api/v1/organizations/:organization/teams/:team/policy': ({ alice, bob, olga }) =>
    json('/organizations/acme/teams/dev/policy', STATEMENTS, {
      as: alice.basic,
      records: ['organization:acme: policy.saved'],
      notFor: [null, bob.basic, olga.basic],
      absent: ['acme/teams/none/policy', 'nobody/teams/dev/policy'].map(below),
    }),
  'PUT /api/v1/organizations/:organization/robots/:robot': ({ alice, bob, olga }) =>
    json(
      '/organizations/acme/robots/ci',
      { disabled: true },
      {
        as: alice.basic,
        records: ['organization:acme: robot.changed'],
        notFor: [null, bob.basic, olga.basic],
        absent: ['nobody/robots/ci', 'acme/robots/-'].map(below),
      },
    ),
  'DELETE /api/v1/organizations/:organization/robots/:robot': ({ alice, bob, olga }) =>
    bare('/organizations/acme/robots/ci', {
      as: alice.basic,
      records: ['organization:acme: key.revoked', 'organization:acme: robot.deleted'],
      notFor: [null, bob.basic, olga.basic],
      absent: ['/organizations/acme/robots/none', '/organizations/nobody/robots/ci'],
    }),
  'POST /api/v1/organizations/:organization/robots/:robot/keys': ({ alice, bob, olga }) =>
    json(
      '/organizations/acme/robots/ci/keys',
      { name: 'second' },
      {
        as: alice.basic,
        records: ['organization:acme: key.created'],
        notFor: [null, bob.basic, olga.basic],
        absent: ['acme/robots/none/keys', 'nobody/robots/ci/keys'].map(below),
      },
    ),
  'PUT /api/v1/organizations/:organization/robots/:robot/policy': ({ alice, bob, olga }) =>
    json('/organizations/acme/robots/ci/policy', STATEMENTS, {
      as: alice.basic,
      records: ['organization:acme: policy.saved'],
      notFor: [null, bob.basic, olga.basic],
      absent: ['acme/robots/none/policy', 'nobody/robots/ci/policy'].map(below),
    }),
  'PUT /api/v1/organizations/:organization/trust-rules/:rule': ({ alice, bob, olga, rule }) =>
    json('/organizations/acme/trust-rules/ship', rule, {
      as: alice.basic,
      records: ['organization:acme: trust-rule.saved'],
      notFor: [null, bob.basic, olga.basic],
      absent: ['nobody/trust-rules/ship', 'acme/trust-rules/-'].map(below),
    }),
  'DELETE /api/v1/organizations/:organization/trust-rules/:rule': ({ alice, bob, olga }) =>
    bare('/organizations/acme/trust-rules/deploy', {
      as: alice.basic,
      records: ['organization:acme: trust-rule.deleted'],
      notFor: [null, bob.basic, olga.basic],
      absent: ['/organizations/acme/trust-rules/none', '/organizations/nobody/trust-rules/deploy'],
    }),
  'PUT /api/v1/trust-rules/:rule': ({ alice, rule }) =>
    json('/trust-rules/ship', rule, {
      records: [': trust-rule.saved'],
      notFor: [null, alice.basic],
      absent: ['/api/v1/trust-rules/-'],
    }),
  'DELETE /api/v1/trust-rules/:rule': ({ alice }) =>
    bare('/trust-rules/deploy', {
      records: [': trust-rule.deleted'],
      notFor: [null, alice.basic],
      absent: ['/trust-rules/none'],
    }),

  'POST /api/v1/keys': ({ alice, robot }) =>
    json('/keys', { name: 'second' }, { as: alice.basic, records: [': key.created'], notFor: [null, robot.basic] }),
  'PATCH /api/v1/keys/:key': ({ alice, bob, olga }) =>
    json(
      `/keys/${bob.keyId}`,
      { name: 'changed' },
      {
        as: bob.basic,
        records: [': key.changed'],
        notFor: [null, olga.basic, alice.basic],
        absent: [`/api/v1/keys/${NO_KEY}`],
      },
    ),
  // The keys of robots belong to the organization, so its owner may revoke them.
  'DELETE /api/v1/keys/:key': ({ alice, bob, olga, robot }) =>
    bare(`/keys/${robot.keyId}`, {
      as: alice.basic,
      records: ['organization:acme: key.revoked'],
      notFor: [null, olga.basic, bob.basic],
      absent: [`/keys/${NO_KEY}`],
    }),
  'POST /api/v1/keys/:key/rotate': ({ bob, olga, robot }) =>
    json(
      `/keys/${robot.keyId}/rotate`,
      {},
      {
        as: robot.basic,
        records: ['organization:acme: key.created', 'organization:acme: key.changed'],
        notFor: [null, olga.basic, bob.basic],
        absent: [`/api/v1/keys/${NO_KEY}/rotate`],
      },
    ),

  'PUT /api/v1/repositories/:name{.+}': ({ alice, olga, bob }) =>
    json(
      '/repositories/acme/new',
      { visibility: 'public' },
      {
        as: alice.basic,
        records: ['acme/new: repository.created', 'acme/new: policy.saved'],
        notFor: [null, olga.basic, bob.basic],
        absent: ['/api/v1/repositories/bravo/new', '/api/v1/repositories/acme/New'],
      },
    ),
  'PATCH /api/v1/repositories/:name{.+}': ({ alice, olga, bob }) =>
    json(
      '/repositories/acme/api',
      { description: 'changed', visibility: 'public' },
      {
        as: alice.basic,
        records: ['acme/api: repository.changed', 'acme/api: policy.saved'],
        notFor: [null, olga.basic, bob.basic],
        absent: ['/api/v1/repositories/acme/none'],
      },
    ),
  'DELETE /api/v1/repositories/:name{.+}': ({ alice, olga, bob }) =>
    bare('/repositories/acme/api?force=true', {
      as: alice.basic,
      records: ['acme/api: repository.deleted'],
      notFor: [null, olga.basic, bob.basic],
      // The repository acme/api has images, so it cannot be deleted without `force`.
      absent: ['/repositories/acme/none?force=true', '/repositories/acme/api'],
    }),
  'PUT /api/v1/repositories/:name{.+}/-/policy': ({ alice, olga, bob }) =>
    json(
      '/repositories/acme/api/-/policy',
      { statements: [{ actions: ['pull'], principals: ['user:bob'] }] },
      {
        as: alice.basic,
        records: ['acme/api: policy.saved'],
        notFor: [null, olga.basic, bob.basic],
        absent: ['/api/v1/repositories/acme/none/-/policy'],
      },
    ),

  'DELETE /api/v1/repositories/:name{.+}/-/tags/:tag': ({ alice, olga, bob }) =>
    bare(ofApi('tags/v1'), {
      as: alice.basic,
      records: ['acme/api: tag.deleted'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofApi('tags/none'), ofApi('tags/%20'), ofNone('tags/v1')],
    }),
  'DELETE /api/v1/repositories/:name{.+}/-/images/:digest': ({ alice, olga, bob, image }) =>
    bare(ofApi(`images/${image.digest}`), {
      as: alice.basic,
      records: ['acme/api: tag.deleted', 'acme/api: manifest.deleted'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofApi(`images/${NO_DIGEST}`), ofApi('images/v1'), ofNone(`images/${image.digest}`)],
    }),
  'POST /api/v1/repositories/:name{.+}/-/deletion': ({ alice, olga, bob, image }) =>
    json(
      ofApi('deletion'),
      { tags: ['v1'], images: [image.digest] },
      {
        as: alice.basic,
        records: ['acme/api: tag.deleted', 'acme/api: manifest.deleted'],
        notFor: [null, olga.basic, bob.basic],
        absent: [ofNone('deletion')].map(underApi),
      },
    ),
  'POST /api/v1/repositories/:name{.+}/-/deletion/preview': ({ alice, olga, bob }) =>
    json(
      ofApi('deletion/preview'),
      { tags: ['v1'], orphans: 'delete' },
      {
        as: alice.basic,
        records: [],
        notFor: [null, olga.basic, bob.basic],
        absent: [ofNone('deletion/preview')].map(underApi),
      },
    ),

  'POST /api/v1/repositories/:name{.+}/-/tags/:tag/rollback': async ({ alice, olga, bob }) => {
    await pushImage(world, 'acme/api', 'v1', 2);
    return json(
      ofApi('tags/v1/rollback'),
      { point: 1 },
      {
        as: alice.basic,
        records: ['acme/api: tag.moved'],
        notFor: [null, olga.basic, bob.basic],
        absent: [ofApi('tags/none/rollback'), ofNone('tags/v1/rollback')].map(underApi),
      },
    );
  },
  'PUT /api/v1/repositories/:name{.+}/-/star': ({ alice, olga }) =>
    bare(ofApi('star'), { as: alice.basic, records: [], notFor: [null, olga.basic], absent: [ofNone('star')] }),
  'DELETE /api/v1/repositories/:name{.+}/-/star': ({ alice, olga }) =>
    bare(ofApi('star'), { as: alice.basic, records: [], notFor: [null, olga.basic], absent: [ofNone('star')] }),
  'POST /api/v1/repositories/:name{.+}/-/comments': ({ alice, olga }) =>
    json(
      ofApi('comments'),
      { text: 'good' },
      {
        as: alice.basic,
        records: ['acme/api: comment.created'],
        notFor: [null, olga.basic],
        absent: [ofNone('comments')].map(underApi),
      },
    ),
  'PATCH /api/v1/repositories/:name{.+}/-/comments/:comment': async ({ alice, olga, bob }) => {
    await api(world, 'POST', ofApi('comments'), { as: alice.basic, body: { text: 'good' } });
    return json(
      ofApi('comments/1'),
      { text: 'better' },
      {
        as: alice.basic,
        records: ['acme/api: comment.changed'],
        notFor: [null, olga.basic, bob.basic],
        absent: [ofApi('comments/99'), ofNone('comments/1')].map(underApi),
      },
    );
  },
  'DELETE /api/v1/repositories/:name{.+}/-/comments/:comment': async ({ alice, olga, bob }) => {
    await api(world, 'POST', ofApi('comments'), { as: alice.basic, body: { text: 'good' } });
    return bare(ofApi('comments/1'), {
      as: alice.basic,
      records: ['acme/api: comment.deleted'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofApi('comments/99'), ofApi('comments/x'), ofNone('comments/1')],
    });
  },
  'PUT /api/v1/repositories/:name{.+}/-/tag-mutability': ({ alice, olga, bob }) =>
    json(
      ofApi('tag-mutability'),
      { imageTagMutability: 'IMMUTABLE' },
      {
        as: alice.basic,
        records: ['acme/api: tag-mutability.saved'],
        notFor: [null, olga.basic, bob.basic],
        absent: [ofNone('tag-mutability')].map(underApi),
      },
    ),
  'PUT /api/v1/repositories/:name{.+}/-/lifecycle': ({ alice, olga, bob }) =>
    json(ofApi('lifecycle'), POLICY, {
      as: alice.basic,
      records: ['acme/api: lifecycle.saved'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofNone('lifecycle')].map(underApi),
    }),
  'DELETE /api/v1/repositories/:name{.+}/-/lifecycle': async ({ alice, olga, bob }) => {
    await savePolicy();
    return bare(ofApi('lifecycle'), {
      as: alice.basic,
      records: ['acme/api: lifecycle.deleted'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofNone('lifecycle')],
    });
  },
  'POST /api/v1/repositories/:name{.+}/-/lifecycle/preview': async ({ alice, olga, bob }) => {
    await savePolicy();
    return json(
      ofApi('lifecycle/preview'),
      { policy: POLICY },
      {
        as: alice.basic,
        records: [],
        notFor: [null, olga.basic, bob.basic],
        absent: [ofNone('lifecycle/preview')].map(underApi),
      },
    );
  },
  'POST /api/v1/repositories/:name{.+}/-/lifecycle/run': async ({ alice, olga, bob }) => {
    await pushImage(world, 'acme/api', 'v2', 2);
    await savePolicy();
    return bare(ofApi('lifecycle/run'), {
      as: alice.basic,
      records: ['acme/api: tag.deleted', 'acme/api: manifest.deleted', 'acme/api: lifecycle.ran'],
      batches: 2,
      notFor: [null, olga.basic, bob.basic],
      absent: [ofNone('lifecycle/run')],
    });
  },
  'POST /api/v1/repositories/:name{.+}/-/trash/tags/:tag/restore': async ({ alice, olga, bob }) => {
    await world.fetch('DELETE', '/v2/acme/api/manifests/v1');
    return bare(ofApi('trash/tags/v1/restore'), {
      as: alice.basic,
      records: ['acme/api: tag.restored'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofApi('trash/tags/none/restore'), ofNone('trash/tags/v1/restore')],
    });
  },
  'DELETE /api/v1/repositories/:name{.+}/-/trash/tags/:tag': async ({ alice, olga, bob }) => {
    await world.fetch('DELETE', '/v2/acme/api/manifests/v1');
    return bare(ofApi('trash/tags/v1'), {
      as: alice.basic,
      records: ['acme/api: trash.purged'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofApi('trash/tags/none'), ofNone('trash/tags/v1')],
    });
  },
  'POST /api/v1/repositories/:name{.+}/-/trash/manifests/:digest/restore': async ({ alice, olga, bob, image }) => {
    await world.fetch('DELETE', `/v2/acme/api/manifests/${image.digest}`);
    return bare(ofApi(`trash/manifests/${image.digest}/restore`), {
      as: alice.basic,
      records: ['acme/api: manifest.restored', 'acme/api: tag.restored'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofApi(`trash/manifests/${NO_DIGEST}/restore`), ofNone(`trash/manifests/${image.digest}/restore`)],
    });
  },
  'DELETE /api/v1/repositories/:name{.+}/-/trash/manifests/:digest': async ({ alice, olga, bob, image }) => {
    await world.fetch('DELETE', `/v2/acme/api/manifests/${image.digest}`);
    return bare(ofApi(`trash/manifests/${image.digest}`), {
      as: alice.basic,
      records: ['acme/api: trash.purged'],
      notFor: [null, olga.basic, bob.basic],
      absent: [ofApi(`trash/manifests/${NO_DIGEST}`), ofNone(`trash/manifests/${image.digest}`)],
    });
  },
  'POST /api/v1/trash/:entry/restore': async ({ alice, olga, bob }) =>
    bare(`/trash/${await deletedEntry()}/restore`, {
      as: alice.basic,
      records: ['acme/api: repository.restored'],
      notFor: [null, olga.basic, bob.basic],
      absent: ['/trash/999999/restore', '/trash/none/restore'],
    }),
  'DELETE /api/v1/trash/:entry': async ({ alice, olga, bob }) =>
    bare(`/trash/${await deletedEntry()}`, {
      as: alice.basic,
      // The event is about the organization, because the next repository with this name must not show it.
      records: ['organization:acme: trash.purged'],
      notFor: [null, olga.basic, bob.basic],
      absent: ['/trash/999999', '/trash/none'],
    }),
  'PUT /api/v1/organizations/:organization/quota': ({ alice }) =>
    json(
      '/organizations/acme/quota',
      { maxBytes: 1_000_000 },
      {
        records: ['organization:acme: quota.saved'],
        notFor: [null, alice.basic],
        absent: ['nobody/quota'].map(below),
      },
    ),
  'PUT /api/v1/users/:user/quota': ({ alice }) =>
    json(
      '/users/bob/quota',
      { maxBytes: 1_000_000 },
      {
        records: [': quota.saved'],
        notFor: [null, alice.basic],
        absent: ['/api/v1/users/nobody-here/quota'],
      },
    ),
  // The content that it could delete has a lease, or is in the trash for days.
  'POST /api/v1/scrub': ({ alice }) => bare('/scrub', { records: [], notFor: [null, alice.basic] }),
  'POST /api/v1/gc': ({ alice }) => bare('/gc', { records: [], notFor: [null, alice.basic] }),

  'POST /api/v1/webhooks': ({ alice }) =>
    withUrls(json('/webhooks', HOOK, { records: [': webhook.created'], notFor: [null, alice.basic] })),
  'POST /api/v1/organizations/:organization/webhooks': ({ alice, bob, olga }) =>
    withUrls(
      json('/organizations/acme/webhooks', HOOK, {
        as: alice.basic,
        records: ['organization:acme: webhook.created'],
        notFor: [null, bob.basic, olga.basic],
        absent: ['nobody/webhooks'].map(below),
      }),
    ),
  'POST /api/v1/repositories/:name{.+}/-/webhooks': ({ alice, bob, olga }) =>
    withUrls(
      json('/repositories/acme/api/-/webhooks', HOOK, {
        as: alice.basic,
        records: ['acme/api: webhook.created'],
        notFor: [null, bob.basic, olga.basic],
        absent: ['/api/v1/repositories/acme/none/-/webhooks'],
      }),
    ),
  'PATCH /api/v1/webhooks/:webhook': async ({ alice, bob, olga }) =>
    withUrls(
      json(
        `/webhooks/${await madeWebhook()}`,
        { enabled: false },
        {
          as: alice.basic,
          records: ['organization:acme: webhook.changed'],
          notFor: [null, bob.basic, olga.basic],
          absent: [`/api/v1/webhooks/${NO_WEBHOOK}`],
        },
      ),
    ),
  'DELETE /api/v1/webhooks/:webhook': async ({ alice, bob, olga }) =>
    bare(`/webhooks/${await madeWebhook()}`, {
      as: alice.basic,
      records: ['organization:acme: webhook.deleted'],
      notFor: [null, bob.basic, olga.basic],
      absent: [`/webhooks/${NO_WEBHOOK}`],
    }),
  'POST /api/v1/webhooks/:webhook/rotate': async ({ alice, bob, olga }) =>
    json(
      `/webhooks/${await madeWebhook()}/rotate`,
      {},
      {
        as: alice.basic,
        records: ['organization:acme: webhook.rotated'],
        notFor: [null, bob.basic, olga.basic],
        absent: [`/api/v1/webhooks/${NO_WEBHOOK}/rotate`],
      },
    ),
  'POST /api/v1/webhooks/:webhook/test': async ({ alice, bob, olga }) =>
    bare(`/webhooks/${await madeWebhook()}/test`, {
      as: alice.basic,
      records: [],
      notFor: [null, bob.basic, olga.basic],
      absent: [`/webhooks/${NO_WEBHOOK}/test`],
    }),
  'POST /api/v1/webhooks/:webhook/deliveries/:delivery/replay': async ({ alice, bob, olga }) => {
    const webhook = await madeWebhook();
    return bare(`/webhooks/${webhook}/deliveries/${await madeDelivery(webhook)}/replay`, {
      as: alice.basic,
      records: [],
      notFor: [null, bob.basic, olga.basic],
      absent: [`/webhooks/${webhook}/deliveries/${webhook}_999999/replay`, `/webhooks/${NO_WEBHOOK}/deliveries/x/replay`],
    });
  },
  'POST /api/v1/webhooks/:webhook/replay': async ({ alice, bob, olga }) =>
    json(
      `/webhooks/${await madeWebhook()}/replay`,
      { failed: true },
      {
        as: alice.basic,
        records: [],
        notFor: [null, bob.basic, olga.basic],
        absent: [`/api/v1/webhooks/${NO_WEBHOOK}/replay`],
      },
    ),
};

/** The change with additional bodies that have forbidden URLs, and so are refused. */
function withUrls(change: Change): Change {
  const urls = ['http://hooks.example.com/', 'https://10.0.0.1/', 'https://localhost/', 'none'];
  return { ...change, wrong: [...(change.wrong ?? []), ...urls.map((url) => JSON.stringify({ url }))] };
}

/** The id of a new webhook for acme. */
async function madeWebhook(): Promise<string> {
  const { status, body } = await api<{ webhook: { id: string } }>(world, 'POST', '/organizations/acme/webhooks', {
    body: HOOK,
  });
  expect(status, JSON.stringify(body)).toBe(201);
  return body.webhook.id;
}

/** The id of a new delivery of an earlier event. */
async function madeDelivery(webhook: string): Promise<string> {
  const body = { since: '2020-01-01T00:00:00Z' };
  expect((await api(world, 'POST', `/webhooks/${webhook}/replay`, { body })).status).toBe(202);
  const { items } = (await api<{ items: { id: string }[] }>(world, 'GET', `/webhooks/${webhook}/deliveries`)).body;
  return items[0]?.id ?? '';
}

/** A policy that deletes the older of two images. */
const POLICY = {
  rules: [
    {
      rulePriority: 1,
      selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 },
      action: { type: 'expire' },
    },
  ],
};

async function savePolicy(): Promise<void> {
  expect((await api(world, 'PUT', ofApi('lifecycle'), { body: POLICY })).status).toBe(200);
}

/** The id by which the deleted `acme/api` is restored. */
async function deletedEntry(): Promise<string> {
  expect((await api(world, 'DELETE', '/repositories/acme/api?force=true')).status).toBe(200);
  const { items } = (await api<{ items: { entry: string }[] }>(world, 'GET', '/trash')).body;
  return items[0]?.entry ?? '';
}

const ofApi = (path: string) => `/repositories/acme/api/-/${path}`;
const ofNone = (path: string) => `/repositories/acme/none/-/${path}`;
const underApi = (path: string) => `/api/v1${path}`;

function below(path: string): string {
  return `/api/v1/organizations/${path}`;
}

function layerOf(image: Content): string {
  const { layers } = JSON.parse(textOf(image)) as { layers: { digest: string }[] };
  return layers[0]?.digest ?? '';
}

function send(method: string, change: Change, other: { path?: string; body?: Send['body']; as?: string | null } = {}) {
  const { path = change.path, body = change.body ?? null, as = change.as } = other;
  return world.fetch(method, path, {
    body,
    headers: change.type === undefined ? {} : { 'content-type': change.type },
    ...(as === undefined ? {} : { authorization: as }),
  });
}

const mutating = Object.entries(ROUTES).flatMap(([path, methods]) =>
  Object.keys(methods).flatMap((method) => (method === 'GET' ? [] : [`${method} ${path}`])),
);

test('no route that can change something is missing', () => {
  expect(Object.keys(CHANGES).sort()).toEqual(mutating.sort());
});

describe.each(Object.entries(CHANGES))('%s', (route, changeIn) => {
  const method = route.split(' ', 1)[0] as string;

  test('records its events about the right subject, and announces them once', async () => {
    const change = await changeIn(stage);
    announcedTo(world);
    const before = await newestOf(world);
    const response = await send(method, change);
    expect(response.status, await response.text()).toBeLessThan(300);
    const events = await recordAfter(world, before);
    expect(events.map(({ about, type }) => `${about}: ${type}`)).toEqual(change.records);
    const ofImages = events.filter(({ type }) => isAboutImage(type as EventType));
    for (const { target } of ofImages) expect(CAUSES, 'the event says why').toContain(target.cause);
    const loud = events.some(({ type }) => !QUIET_TYPES.includes(type));
    const announced = announcedTo(world);
    expect(announced).toHaveLength(loud ? (change.batches ?? 1) : 0);
    if (loud) expect(announced.at(-1)).toEqual({ newest: await newestOf(world) });
  });

  test('records and announces nothing if it is refused', async () => {
    const change = await changeIn(stage);
    announcedTo(world);
    const before = await newestOf(world);
    const refusals = [
      ...change.notFor.map((as) => ({ as })),
      ...(change.wrong ?? []).map((body) => ({ body })),
      ...(change.absent ?? []).map((path) => ({ path })),
    ];
    expect(refusals).not.toEqual([]);
    for (const refused of refusals) {
      const response = await send(method, change, refused);
      expect([400, 401, 403, 404, 405, 409], `${JSON.stringify(refused)}: ${await response.text()}`).toContain(response.status);
    }
    // Only the failed login is recorded.
    const events = await recordAfter(world, before);
    expect(events.filter(({ type }) => type !== 'login.failed')).toEqual([]);
    expect(announcedTo(world)).toHaveLength(events.length);
  });
});
