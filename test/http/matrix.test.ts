/**
 * The authorization matrix: every route with every kind of caller and every kind of repository. The expected answer is computed
 * only from the row of the route and the rights of the caller. A refused request records nothing.
 */
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { type Method, ROUTES } from '../../src/http/routes.ts';
import type { Requirement } from '../../src/vocabulary/requirements.ts';
import { type Cast, ENDED, IDENTITIES, type Identity, type Kind, makeCast, REPOSITORIES, rightsOf } from '../world/cast.ts';
import { api, inviteUser } from '../world/people.ts';
import { newestOf } from '../world/reading.ts';
import { newWorld, type World } from '../world/world.ts';

const NO_DIGEST = `sha256:${'0'.repeat(64)}`;
const KINDS = Object.keys(REPOSITORIES) as Kind[];

/**
 * The values of path parameters. The named content does not exist, so that allowed requests change nothing. The named people,
 * teams, robots, keys and webhooks exist.
 */
const PARTS = (): Record<string, string> => ({
  reference: NO_DIGEST,
  digest: NO_DIGEST,
  upload: 'none',
  organization: 'acme',
  user: 'paul',
  team: 'users',
  robot: 'deployer',
  rule: 'deploy',
  key: cast.spareKey,
  entry: deleted,
});

/** An ETag that no resource has. An allowed request with it is refused with 412, and changes nothing. */
const STALE = { 'if-match': '"999999"' };

/** The scopes of the webhooks. The scope decides which callers may see a webhook. */
const SCOPES = {
  registry: '',
  organization: '/organizations/acme',
  public: `/repositories/${REPOSITORIES.public}/-`,
  private: `/repositories/${REPOSITORIES.private}/-`,
};
type Place = Kind | keyof typeof SCOPES;

let world: World;
let cast: Cast;
let webhooks: Partial<Record<Place, string>>;
/** The id of a deleted repository in the trash. */
let deleted: string;

beforeAll(async () => {
  world = await newWorld();
  cast = await makeCast(world);
  webhooks = Object.fromEntries(
    await Promise.all(Object.entries(SCOPES).map(async ([place, path]) => [place, await makeWebhook(path)])),
  );
  deleted = await makeDeleted('acme/deleted');
  for (const kind of ['public', 'private'] as const) {
    const saved = await api(world, 'PUT', `/repositories/${REPOSITORIES[kind]}/-/lifecycle`, { body: { rules: [KEEP] } });
    expect(saved.status, JSON.stringify(saved.body)).toBe(200);
  }
  // A test delivery that fails is answered after ten seconds.
  vi.spyOn(scheduler, 'wait').mockImplementation((time) => (time > 10_000 ? Promise.resolve() : new Promise(() => {})));
});

/** A lifecycle rule that expires nothing. */
const KEEP = { rulePriority: 1, selection: { tagStatus: 'any' }, action: { type: 'keep' } };

/** Creates a deleted repository whose content is being purged, so that allowed requests change nothing. */
async function makeDeleted(name: string): Promise<string> {
  await api(world, 'PUT', `/repositories/${name}`);
  expect((await api(world, 'DELETE', `/repositories/${name}`)).status).toBe(200);
  const row = await world.env.DB.prepare('UPDATE trash SET purging = 1 WHERE repository = ? RETURNING repository_id AS id')
    .bind(name)
    .first<{ id: number }>();
  return String(row?.id);
}

/** A webhook with a failed delivery. */
async function makeWebhook(place: string): Promise<string> {
  const body = { url: 'https://hooks.example.com/' };
  const made = await api<{ webhook: { id: string } }>(world, 'POST', `${place}/webhooks`, { body });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const { id } = made.body.webhook;
  const event = {
    id: 1,
    at: 0,
    type: 'repository.created',
    about: 'acme/public',
    sequence: 1,
    target: {},
    by: { subject: '' },
  };
  await world.env.DB.prepare(
    "INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at) VALUES (?1, 1, ?2, 'failed', 0, 0)",
  )
    .bind(id, JSON.stringify({ event, facts: null }))
    .run();
  return id;
}

interface Row {
  method: Method;
  path: string;
  requirement: Requirement;
}

const rows: Row[] = Object.entries(ROUTES).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, requirement]) => ({ method: method as Method, path, requirement })),
);

/** The kinds of repositories, or the scopes of webhooks, with which a route is tried. */
function placesOf({ path }: Row): Place[] {
  if (path.includes(':webhook')) return Object.keys(SCOPES) as Place[];
  return path.includes(':name') ? KINDS : KINDS.slice(0, 1);
}

function pathFor({ path }: Row, place: Place): string {
  const webhook = webhooks[place] ?? '';
  const parts: Record<string, string> = { ...PARTS(), webhook, delivery: `${webhook}_1` };
  const named = path.replace(':name{.+}', REPOSITORIES[place as Kind]);
  const filled = named.replaceAll(/:(\w+)/g, (_, part: string) => parts[part] ?? part);
  // Without a digest, the route requires more than `pull` (`http/floods.test.ts`).
  return path.endsWith('/-/pulls') ? `${filled}?digest=${NO_DIGEST}` : filled;
}

/** Sends the request. @returns the result of its authorization, without regard to the result of the operation */
async function verdict(row: Row, kind: Place, authorization: string | null): Promise<string> {
  const body = ['PUT', 'PATCH', 'POST'].includes(row.method) && row.path.startsWith('/api') ? '{}' : null;
  const headers: Record<string, string> = body === null ? STALE : { 'content-type': 'application/json', ...STALE };
  await restore(row);
  const newest = await newestOf(world);
  const response = await world.fetch(row.method, pathFor(row, kind), { authorization, headers, body });
  const text = await response.text();
  if (response.status >= 400 && (await newestOf(world)) !== newest) return `${response.status}, and an event`;
  if (response.status >= 500) return `${response.status} ${text}`;
  if (![401, 403, 404].includes(response.status)) return 'let in';
  const { code } = (JSON.parse(text) as { errors: { code: string }[] }).errors[0] ?? { code: '' };
  // A 404 of the operation means that the request was allowed. Authorization itself answers with the code NOT_FOUND.
  return code === 'NOT_FOUND' ? 'hidden' : response.status === 404 ? 'let in' : `${response.status} ${code}`;
}

/** Adds a removed member again for the next caller. A removal has no condition, so it takes effect. */
async function restore({ method, path }: Row): Promise<void> {
  if (method !== 'DELETE' || !path.includes('/members/')) return;
  await api(world, 'PUT', '/organizations/acme/members/paul', { body: { role: 'member' } });
  await api(world, 'PUT', '/organizations/acme/teams/users/members/paul', { body: {} });
}

/** A token with the scope of the request, as docker gets it. It contains only the actions that the caller may do. */
async function bearerFor(row: Row, kind: Kind, basic: string | null): Promise<string | null> {
  const wire = { pull: 'pull', push: 'pull,push', delete: 'delete' }[row.requirement as string];
  const scope = row.requirement === 'catalog' ? 'registry:catalog:*' : `repository:${REPOSITORIES[kind]}:${wire ?? 'pull'}`;
  const response = await world.fetch('GET', `/token?scope=${scope}`, { authorization: basic });
  return response.ok ? `Bearer ${((await response.json()) as { token: string }).token}` : null;
}

const expectations: Record<string, (identity: Identity) => string> = {
  anyone: () => 'let in',
  login: (identity) => (identity === 'anonymous' ? '401 UNAUTHORIZED' : 'let in'),
  account: whole(() => 'let in'),
  administrator: whole((identity) => (identity === 'administrator' ? 'let in' : '403 DENIED')),
  owner: whole((identity) => {
    if (identity === 'administrator' || identity === 'organization owner') return 'let in';
    return identity === 'puller' || identity === 'pusher' ? '403 DENIED' : 'hidden';
  }),
  'owner or self': whole((identity) => {
    // Paul is the user in the path.
    if (identity === 'administrator' || identity === 'organization owner' || identity === 'puller') return 'let in';
    return identity === 'pusher' ? '403 DENIED' : 'hidden';
  }),
  member: (identity) => {
    if (identity === 'anonymous') return '401 UNAUTHORIZED';
    if (identity === 'narrowed key') return '403 DENIED';
    const members: Identity[] = ['puller', 'pusher', 'organization owner', 'administrator'];
    return members.includes(identity) ? 'let in' : 'hidden';
  },
};

/** The expected answer if only credentials that are not narrowed may send the request. */
function whole(then: (identity: Identity) => string): (identity: Identity) => string {
  return (identity) => {
    if (identity === 'anonymous') return '401 UNAUTHORIZED';
    const partial: Identity[] = ['narrowed key', 'robot', 'CI token'];
    return partial.includes(identity) ? '403 DENIED' : then(identity);
  };
}

/** The expected answer about a repository. A caller who may not pull it gets the answer for a missing repository. */
function onRepository(requirement: string, identity: Identity, kind: Kind): string {
  const rights = rightsOf(identity, kind);
  if (rights.includes(requirement)) return 'let in';
  if (identity === 'anonymous') return '401 UNAUTHORIZED';
  return rights.includes('pull') ? '403 DENIED' : 'hidden';
}

/** The expected answer about a webhook. It is hidden from callers who may not administer its scope. */
function onWebhook(identity: Identity, place: Place): string {
  if (identity === 'anonymous') return '401 UNAUTHORIZED';
  const mayAdminister: Partial<Record<Place, boolean>> = {
    registry: identity === 'administrator',
    organization: identity === 'administrator' || identity === 'organization owner',
  };
  return (mayAdminister[place] ?? rightsOf(identity, place as Kind).includes('admin')) ? 'let in' : 'hidden';
}

/** The expected answer about a deleted repository. Its policy does not count. Only the owners of its name can see it. */
function onTrash(identity: Identity): string {
  if (identity === 'anonymous') return '401 UNAUTHORIZED';
  return identity === 'administrator' || identity === 'organization owner' ? 'let in' : 'hidden';
}

/** The owner of each personal thing, who can see it as administrators can. Members of the organization can see Paul. */
const THEIRS: Record<string, Identity[]> = {
  '/api/v1/users/:user/usage': ['puller', 'administrator'],
  '/api/v1/users/:user': ['puller', 'pusher', 'organization owner', 'administrator'],
  '/api/v1/keys/:key': ['pusher', 'administrator'],
  '/api/v1/keys/:key/rotate': ['pusher'],
};

function expected({ method, requirement, path }: Row, identity: Identity, kind: Place): string {
  if (ENDED.includes(identity))
    return path === '/' || path.startsWith('/join') || path === '/api' || path.endsWith('.json')
      ? 'let in'
      : '401 UNAUTHORIZED';
  // A narrowed key may revoke itself and no other key. Rotating a key returns its secret, so an administrator may not.
  const denied: Record<string, Identity[]> = {
    'DELETE /api/v1/keys/:key': ['narrowed key'],
    'POST /api/v1/keys/:key/rotate': ['narrowed key', 'administrator'],
    'DELETE /api/v1/me/logins': ['narrowed key'],
    'GET /api/v1/organizations': ['narrowed key'],
    // The audit log would show everything that the owner, or other jobs of the same rule, did.
    'GET /api/v1/events': ['narrowed key', 'CI token'],
  };
  if (denied[`${method} ${path}`]?.includes(identity)) return '403 DENIED';
  if (requirement === 'webhook') return onWebhook(identity, kind);
  if (requirement === 'trash') return onTrash(identity);
  const judged = expectations[requirement]?.(identity) ?? onRepository(requirement, identity, kind as Kind);
  if (judged !== 'let in') return judged;
  // Robots and jobs have no opinion, and the comment of the request does not exist.
  if (method !== 'GET' && path.endsWith('/-/star')) return whole(() => 'let in')(identity);
  if (method === 'DELETE' && path.endsWith('/-/comments/:comment')) return 'hidden';
  return THEIRS[path]?.includes(identity) === false ? 'hidden' : judged;
}

const isOfApi = ({ path }: Row) => !path.startsWith('/v2') && path !== '/token';
const label = ({ method, path, requirement }: Row) => `${method} ${path} (${requirement})`;

describe('the management API', () => {
  // Anyone who has an invitation or a download URL may use it: its token is the credential.
  const withToken = ['/api/v1/invitations/accept', '/layers/:digest'];
  const own = rows.filter((row) => isOfApi(row) && !withToken.includes(row.path));

  test.each(own.map((row) => [label(row), row] as const))('%s', async (_, row) => {
    const seen: string[] = [];
    const wanted: string[] = [];
    for (const identity of IDENTITIES) {
      for (const kind of placesOf(row)) {
        seen.push(`${identity}, ${kind}: ${await verdict(row, kind, cast.basic[identity])}`);
        wanted.push(`${identity}, ${kind}: ${expected(row, identity, kind)}`);
      }
    }
    expect(seen).toEqual(wanted);
  });
});

describe('the distribution API', () => {
  const own = rows.filter(({ path }) => path.startsWith('/v2'));

  function allowed({ requirement }: Row, identity: Identity, kind: Kind): boolean {
    if (ENDED.includes(identity)) return false;
    if (requirement === 'login' || requirement === 'catalog') return identity !== 'anonymous';
    return rightsOf(identity, kind).includes(requirement);
  }

  test.each(own.map((row) => [label(row), row] as const))('%s, with a token as docker asks for one', async (_, row) => {
    const seen: string[] = [];
    const wanted: string[] = [];
    for (const identity of IDENTITIES) {
      for (const kind of row.path.includes(':name') ? KINDS : KINDS.slice(0, 1)) {
        const token = await bearerFor(row, kind, cast.basic[identity]);
        const name = `${identity}, ${kind}`;
        seen.push(`${name}: ${token === null ? 'no token' : await verdict(row, kind, token)}`);
        const open = row.requirement === 'login' && identity === 'anonymous';
        const refused = ENDED.includes(identity) ? 'no token' : '401 UNAUTHORIZED';
        wanted.push(`${name}: ${allowed(row, identity, kind) || open ? 'let in' : refused}`);
      }
    }
    expect(seen).toEqual(wanted);
  });

  test.each(own.map((row) => [label(row), row] as const))('%s, with a password', async (_, row) => {
    const seen: string[] = [];
    const wanted: string[] = [];
    for (const identity of IDENTITIES) {
      for (const kind of row.path.includes(':name') ? KINDS : KINDS.slice(0, 1)) {
        seen.push(`${identity}, ${kind}: ${await verdict(row, kind, cast.basic[identity])}`);
        const refused = identity === 'anonymous' || ENDED.includes(identity) ? '401 UNAUTHORIZED' : '403 DENIED';
        // An anonymous request gets a challenge even if it needs no credentials, because docker sends none before.
        wanted.push(`${identity}, ${kind}: ${identity !== 'anonymous' && allowed(row, identity, kind) ? 'let in' : refused}`);
      }
    }
    expect(seen).toEqual(wanted);
  });
});

describe('an existing repository that is private and one that is absent', () => {
  const strangers: Identity[] = ['anonymous', 'outsider'];
  const own = rows.filter(({ path }) => path.includes(':name'));

  test.each(own.map((row) => [label(row), row] as const))('look the same to anonymous callers: %s', async (_, row) => {
    for (const identity of strangers) {
      const [there, absent] = await Promise.all((['private', 'absent'] as const).map((kind) => look(row, kind, identity)));
      expect(there).toEqual(absent);
    }
  });

  /** All visible parts of an answer, without the name of the repository. */
  async function look(row: Row, kind: Kind, identity: Identity) {
    const response = await world.fetch(row.method, pathFor(row, kind), { authorization: cast.basic[identity] });
    const neutral = (text: string) => text.replaceAll(REPOSITORIES[kind], '<repository>');
    const headers = [...response.headers].map(([name, value]) => `${name}: ${neutral(value)}`);
    return { status: response.status, body: neutral(await response.text()), headers };
  }
});

describe('two tenants', () => {
  /** The same parameters in another organization, and names that do not exist. */
  const others = {
    organization: 'bravo',
    user: 'berta',
    team: 'crew',
    robot: 'builder',
    rule: 'ship',
    key: '',
    webhook: '',
    delivery: '',
    entry: '',
    name: 'bravo/app',
  };
  const absent = {
    organization: 'nobody',
    user: 'nobody-here',
    team: 'none',
    robot: 'none',
    rule: 'none',
    key: 'BRTHAAAAAAAAAAAAAAAA',
    webhook: `wh_${'a'.repeat(20)}`,
    delivery: `wh_${'a'.repeat(20)}_1`,
    entry: '999999',
    name: 'nobody/app',
  };

  beforeAll(async () => {
    const berta = await inviteUser(world, others.user);
    others.key = berta.keyId;
    const put = (path: string, body: object = {}) => api(world, 'PUT', path, { body });
    await put('/organizations/bravo');
    await put('/organizations/bravo/members/berta', { role: 'owner' });
    await put('/organizations/bravo/teams/crew');
    await put('/organizations/bravo/robots/builder');
    await put('/repositories/bravo/app');
    others.webhook = await makeWebhook('/organizations/bravo');
    others.delivery = `${others.webhook}_1`;
    others.entry = await makeDeleted('bravo/deleted');
    const statements = [{ actions: ['pull'], repositories: ['bravo/*'] }];
    const rule = { issuer: cast.issuer.url, claims: { project: '7' }, statements };
    expect((await put('/organizations/bravo/trust-rules/ship', rule)).status).toBe(201);
  });

  const own = rows.filter(
    // Routes under /me are about the caller. Invitations of the caller may differ from each other.
    ({ path, requirement }) =>
      path.startsWith('/api/v1/') && !path.startsWith('/api/v1/me/') && path.includes(':') && requirement !== 'administrator',
  );

  test.each(own.map((row) => [label(row), row] as const))('an owner of one sees nothing of the other: %s', async (_, row) => {
    const ask = async (parts: Record<string, string>) => {
      const path = row.path.replace(/:(\w+)(?:\{\.\+\})?/g, (__, part: string) => parts[part] ?? part);
      const rest = path.replaceAll(/:(\w+)/g, (__, part: string) => parts[part] ?? part);
      const body = ['PUT', 'PATCH', 'POST'].includes(row.method) ? {} : undefined;
      const answer = await api(world, row.method, rest.replace('/api/v1', ''), {
        as: cast.basic['organization owner'],
        ...(body ? { body } : {}),
      });
      return { status: answer.status, body: answer.body };
    };
    const seen = await ask(others);
    expect(seen.status).toBe(404);
    expect(seen).toEqual(await ask(absent));
  });
});
