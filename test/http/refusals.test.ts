/** What answers give away to somebody who has no right to know it, and what hostile parameters do to the new routes. */
import { beforeEach, describe, expect, test } from 'vitest';
import { trashRepository } from '../registry/trash/trash.ts';
import { counting } from '../world/counting.ts';
import { noise, pushBlob, pushImage } from '../world/images.ts';
import { makeOrganization } from '../world/organizations.ts';
import { type ApiRequest, api, inviteUser, type Person } from '../world/people.ts';
import { tokenFor } from '../world/tokens.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const ROOT = `/repositories/${REPOSITORY}`;
const RULES = {
  rules: [
    {
      rulePriority: 1,
      selection: { tagStatus: 'untagged', countType: 'imageCountMoreThan', countNumber: 1 },
      action: { type: 'expire' },
    },
  ],
};

let world: World;
let bob: Person;

beforeEach(async () => {
  world = await newWorld();
  bob = await inviteUser(world, 'bob');
  await makeOrganization(world, 'acme', { members: [bob] });
});

async function must(method: string, path: string, request?: ApiRequest): Promise<void> {
  const { status, body } = await api(world, method, path, request);
  expect(status, `${method} ${path}: ${JSON.stringify(body)}`).toBeLessThan(300);
}

const ABSENT = `sha256:${'a'.repeat(64)}`;
/** Of a repository. */
const ROUTES: [method: string, path: string, body?: object][] = [
  ['GET', '-/tags/v1/history'],
  ['POST', '-/tags/v1/rollback', { point: 1 }],
  ['GET', '-/tag-mutability'],
  ['PUT', '-/tag-mutability', { imageTagMutability: 'IMMUTABLE' }],
  ['GET', '-/pulls?tag=v1'],
  ['GET', '-/lifecycle'],
  ['PUT', '-/lifecycle', RULES],
  ['DELETE', '-/lifecycle'],
  ['POST', '-/lifecycle/preview'],
  ['POST', '-/lifecycle/run'],
  ['GET', '-/trash'],
  ['DELETE', '-/trash/tags/v1'],
  ['POST', '-/trash/tags/v1/restore'],
  ['DELETE', `-/trash/manifests/${ABSENT}`],
  ['POST', `-/trash/manifests/${ABSENT}/restore`],
];

describe('to a stranger and to a user without a right', () => {
  test('what is private and what is absent have one answer, to the headers and the questions to the database', async () => {
    await pushImage(world, REPOSITORY, 'v1', 1);
    await pushImage(world, 'acme/gone', 'v1', 1);
    const entry = await trashRepository(world, 'acme/gone');
    await must('GET', '/me', { as: bob.basic });
    const { env, counts } = counting(world.env);
    const counted = worldOf(env);
    const ask = async (as: string | null, method: string, path: string, body?: object) => {
      const before = counts.d1;
      const response = await counted.fetch(method, `/api/v1${path}`, {
        authorization: as,
        ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
      });
      return [response.status, await response.text(), [...response.headers], counts.d1 - before];
    };
    for (const as of [bob.basic, null]) {
      for (const [method, path, body] of ROUTES) {
        const absent = await ask(as, method, `/repositories/acme/not/${path}`, body);
        expect(await ask(as, method, `${ROOT}/${path}`, body), `${method} ${path}`).toEqual(absent);
        expect(absent[0]).toBe(as === null ? 401 : 404);
      }
      for (const [method, path] of [
        ['POST', '/restore'],
        ['DELETE', ''],
      ] as const) {
        expect(await ask(as, method, `/trash/${entry}${path}`)).toEqual(await ask(as, method, `/trash/999999${path}`));
      }
    }
  });

  test('an access token for pulling is no credential of the API', async () => {
    await pushImage(world, REPOSITORY, 'v1', 1);
    const authorization = await tokenFor(world, `repository:${REPOSITORY}:pull`);
    const as = authorization.startsWith('Bearer ') ? authorization : `Bearer ${authorization}`;
    for (const [method, path, body] of ROUTES) {
      expect((await api(world, method, `${ROOT}/${path}`, { as, ...(body ? { body } : {}) })).status).toBe(401);
    }
  });
});

describe('to somebody who may push to one repository of an organization that is full', () => {
  test('a digest that they claim without its bytes has one answer, whether another repository has it or none', async () => {
    const secret = await pushBlob(world, 'acme/secret', noise(3_000_000, 9));
    await must('PUT', ROOT);
    const statements = [{ effect: 'allow', actions: 'push and pull', principals: ['user:bob'] }];
    await must('PUT', `${ROOT}/-/policy`, { body: { statements } });
    await must('PUT', '/organizations/acme/quota', { body: { maxBytes: 3_000_100 } });
    const claim = async (digest: string) => {
      const path = `/v2/${REPOSITORY}/blobs/uploads/?digest=${digest}`;
      const response = await world.fetch('POST', path, { authorization: bob.basic, body: noise(2_000_000, 1) });
      return [response.status, (await response.text()).replaceAll(digest, '')];
    };
    expect(await claim(secret.digest)).toEqual(await claim(ABSENT));
  });
});

describe('hostile parameters', () => {
  const LAST = [
    ...["'", '%', '_', '\\', '\0', 'a\0b', '__proto__', 'constructor', '-1', '1e308', '9007199254740993', '\u{10FFFF}'],
    ...['tag', 'manifest sha256:', 'acme/api 999999999999999', 'acme/api 1e3', 'x'.repeat(512), 'x'.repeat(513)],
    ...['["blobs","\\ud800"]', '["manifests",1e308,"x"]', '["__proto__"]', '["gc",1]', '[]', 'null', '{}'],
  ];
  const BODIES = [
    ...['{"__proto__":{}}', '{"point":1,"__proto__":{}}', '{"point":1e308}', '{"point":9007199254740991}', '[]', 'null'],
    ...['{"maxBytes":1e308}', '{"maxBytes":-1}', '{"maxBytes":9007199254740992}', '{"maxBytes":1.5}', '{"maxBytes":"1"}'],
    ...['{"maxBytes":1,"organization":"other"}', '{"rules":[{"__proto__":1}]}', '{"imageTagMutability":"__proto__"}'],
  ];

  test('are refused or mean nothing: no list answers with a 5xx', async () => {
    await pushImage(world, REPOSITORY, 'v1', 1);
    await world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/v1`);
    for (const path of [`${ROOT}/-/tags/v1/history`, `${ROOT}/-/trash`, '/trash', '/usage', '/fsck', `${ROOT}/-/pulls`]) {
      for (const last of LAST) {
        const { status } = await api(world, 'GET', `${path}?last=${encodeURIComponent(last)}`);
        expect([200, 400], `${path} ${JSON.stringify(last)}`).toContain(status);
      }
    }
  });

  test('of a body are refused, and change nothing', async () => {
    await pushImage(world, REPOSITORY, 'v1', 1);
    for (const [method, path] of [
      ['POST', `${ROOT}/-/tags/v1/rollback`],
      ['PUT', `${ROOT}/-/tag-mutability`],
      ['PUT', `${ROOT}/-/lifecycle`],
      ['POST', `${ROOT}/-/lifecycle/preview`],
      ['PUT', '/organizations/acme/quota'],
    ] as const) {
      for (const body of BODIES) {
        const { status } = await api(world, method, path, { body });
        expect([400, 404], `${method} ${path} ${body}`).toContain(status);
      }
    }
  });
});
