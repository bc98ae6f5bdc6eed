import fc from 'fast-check';
import { base64url, exportSPKI, importJWK, SignJWT } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { type RuleStatement, statementsOf, type TrustRule } from '../../../src/auth/outside/oidc.ts';
import { matches } from '../../../src/oci/pattern.ts';
import { AUDIENCE, type Issuer, NOW, newIssuer, newKey, takenFor } from '../../world/token-issuer.ts';

const SECONDS = NOW / 1000;

function ruleOf(issuer: Issuer, rule: Partial<TrustRule> = {}): TrustRule {
  return {
    subject: 'ci:acme/x',
    issuer: issuer.url,
    audience: AUDIENCE,
    claims: { sub: 'somebody' },
    statements: [],
    lifetime: 3600,
    ...rule,
  };
}

/** Claims of a GitHub job, as documented. Ids are texts. */
const GITHUB = {
  sub: 'repo:acme/api:ref:refs/heads/main',
  ref: 'refs/heads/main',
  ref_type: 'branch',
  repository: 'acme/api',
  repository_id: '74',
  repository_owner: 'acme',
  repository_owner_id: '65',
  event_name: 'push',
  actor: 'octocat',
  actor_id: '12',
  run_attempt: '1',
  environment: 'prod',
  nbf: SECONDS - 600,
};

/** Claims of a GitLab job, where `ref` is the name of a branch or a tag. */
const GITLAB = {
  sub: 'project_path:acme/api:ref_type:branch:ref:main',
  ref: 'main',
  ref_type: 'branch',
  ref_path: 'refs/heads/main',
  ref_protected: 'true',
  project_id: '22',
  project_path: 'acme/api',
  namespace_id: '72',
  namespace_path: 'acme',
  pipeline_source: 'push',
  groups_direct: ['acme'],
};

describe('a token of an external issuer', () => {
  test('is accepted as GitHub makes it', async () => {
    const issuer = await newIssuer({ alg: 'RS256' });
    const rule = ruleOf(issuer, { claims: { repository_id: '74', ref: 'refs/heads/*', actor_id: ['1', '12'] } });
    const identity = await takenFor(await issuer.sign(GITHUB), [rule], issuer.world());
    expect(identity).toEqual({
      rules: [rule],
      told: {
        claims: {
          ...GITHUB,
          iss: issuer.url,
          aud: AUDIENCE,
          jti: 'one',
          iat: String(SECONDS),
          exp: String(SECONDS + 600),
          nbf: String(SECONDS - 600),
        },
        omitted: [],
        audiences: [AUDIENCE],
      },
    });
  });

  test('is accepted as GitLab makes it', async () => {
    const issuer = await newIssuer({ alg: 'ES256' });
    const statements: RuleStatement[] = [
      {
        effect: 'allow',
        actions: ['push'],
        repositories: ['{project_path}'],
        tags: ['{ref_name}-{other}'],
        when: { hint: 'x' },
      },
    ];
    const rule = ruleOf(issuer, { claims: { project_id: '22', ref_protected: 'true' }, statements });
    const identity = await takenFor(await issuer.sign({ ...GITLAB, other: 5 }), [rule], issuer.world());
    const { groups_direct: _, ...texts } = GITLAB;
    expect(identity?.told.claims).toMatchObject(texts);
    expect(identity?.told.claims).not.toHaveProperty('groups_direct');
    expect(identity?.told.claims.other).toBe('5');
  });

  test('includes the claims that make up the number of its merge request', async () => {
    const issuer = await newIssuer();
    const statements = [push(['mr-{pull_request}-*'], { pipeline_source: 'merge_request_event' })];
    const rule = ruleOf(issuer, { claims: { project_id: '22' }, statements });
    const event = { ...GITLAB, pipeline_source: 'merge_request_event' };
    for (const claims of [{ merge_request_iid: '7' }, { ref_path: 'refs/merge-requests/7/head' }]) {
      const identity = await takenFor(await issuer.sign({ ...event, ...claims }), [rule], issuer.world());
      expect(statementsOf(rule, identity?.told.claims ?? {})).toMatchObject([{ tags: ['mr-7-*'] }]);
    }
  });

  test.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])(
    'may be signed with %s',
    async (alg) => {
      const issuer = await newIssuer({ alg });
      expect(await takenFor(await issuer.sign(), [ruleOf(issuer)], issuer.world())).not.toBeNull();
    },
  );

  test('may be for several audiences, and have numbers and booleans as claims', async () => {
    const issuer = await newIssuer();
    const rule = ruleOf(issuer, { claims: { project_id: '22', protected: 'true' } });
    const claims = { aud: ['elsewhere', AUDIENCE], project_id: 22, protected: true };
    expect(await takenFor(await issuer.sign(claims), [rule], issuer.world())).toMatchObject({
      told: { claims: { project_id: '22', protected: 'true' }, audiences: ['elsewhere', AUDIENCE] },
    });
  });

  test('of an issuer whose clock is a minute ahead is valid', async () => {
    const issuer = await newIssuer();
    const token = await issuer.sign({ iat: SECONDS + 59, nbf: SECONDS + 59 });
    expect(await takenFor(token, [ruleOf(issuer)], issuer.world())).not.toBeNull();
  });
});

describe('without a matching rule', () => {
  test('no issuer is asked for keys', async () => {
    const issuer = await newIssuer();
    expect(await takenFor(await issuer.sign(), [], issuer.world())).toBeNull();
    expect(issuer.requests).toEqual([]);
  });
});

describe('a token is refused', () => {
  let issuer: Issuer;
  beforeEach(async () => {
    issuer = await newIssuer();
  });

  async function expectNobody(token: string, rules = [ruleOf(issuer)]): Promise<void> {
    // A token with the usual claims is accepted, so only the changed claim is wrong.
    expect(await takenFor(await issuer.sign(), rules, issuer.world())).not.toBeNull();
    expect(await takenFor(token, rules, issuer.world())).toBeNull();
    expect(new Set(issuer.requests)).toEqual(new Set([issuer.configuration, issuer.jwks]));
  }

  test.each<[string, Record<string, unknown>]>([
    ['for another audience', { aud: 'https://github.com/acme' }],
    ['for other audiences', { aud: ['a', 'b'] }],
    ['for an audience that only begins so', { aud: `${AUDIENCE}.evil.example` }],
    ['for no audience', { aud: undefined }],
    ['for an audience that is a number', { aud: 5 }],
    ['of another issuer', { iss: 'https://other.example' }],
    ['of no issuer', { iss: undefined }],
    ['that has ended', { exp: SECONDS - 1 }],
    ['that ends now', { exp: SECONDS }],
    ['that never ends', { exp: undefined }],
    ['that ends in text', { exp: String(SECONDS + 600) }],
    ['that ends in the year 3e300', { exp: 1e308 }],
    ['that lives for more than a day', { iat: SECONDS, exp: SECONDS + 24 * 3600 + 1 }],
    ['that was made long ago and lives', { iat: SECONDS - 24 * 3600, exp: SECONDS + 1 }],
    ['that was made at no time', { iat: undefined }],
    ['that was made before time', { iat: -1e308 }],
    ['of the future', { iat: SECONDS + 61, exp: SECONDS + 600 }],
    ['that does not count yet', { nbf: SECONDS + 61 }],
    ['about somebody else', { sub: 'somebody-else' }],
    ['that goes on and on', { padding: 'x'.repeat(16 * 1024) }],
  ])('%s', async (_, claims) => {
    await expectNobody(await issuer.sign(claims));
  });

  test('without a subject, even if the rule does not check that', async () => {
    const rules = [ruleOf(issuer, { claims: { jti: 'one' } })];
    for (const sub of [undefined, '', 5, null, ['somebody']]) await expectNobody(await issuer.sign({ sub }), rules);
  });

  test('of an issuer that is written differently', async () => {
    for (const iss of [`${issuer.url}/`, issuer.url.toUpperCase(), `${issuer.url}:443`, [issuer.url]]) {
      await expectNobody(await issuer.sign({ iss }));
    }
  });

  test.each<[string, Record<string, unknown>]>([
    ['an unknown kid', { kid: 'unknown' }],
    ['a kid that is a path', { kid: '../../keys' }],
    ['a kid that is SQL', { kid: "' OR 1=1 --" }],
    ['the kid __proto__', { kid: '__proto__' }],
    ['the kid constructor', { kid: 'constructor' }],
    ['a header that must be understood and is not', { crit: ['magic'], magic: true }],
  ])('with %s', async (_, header) => {
    const options = { crit: { magic: true } };
    const payload = { iss: issuer.url, aud: AUDIENCE, sub: 'somebody', iat: SECONDS, exp: SECONDS + 600 };
    const protectedHeader = { alg: 'ES256', kid: issuer.key.kid, ...header };
    await expectNobody(await new SignJWT(payload).setProtectedHeader(protectedHeader).sign(issuer.key.privateKey, options));
  });

  test.each(['jku', 'jwk', 'x5u', 'x5c'])('with an own key in its header, by %s, and nobody asks there', async (name) => {
    const own = await newKey();
    const address = 'https://evil.example/keys';
    const header = { jku: address, jwk: own.publicJwk, x5u: address, x5c: [base64url.encode('certificate')] }[name];
    for (const kid of [own.kid, issuer.key.kid]) await expectNobody(await issuer.sign({}, { [name]: header, kid }, own));
  });

  test('signed by somebody else under a known kid', async () => {
    await expectNobody(await issuer.sign({}, { kid: issuer.key.kid }, await newKey()));
  });

  test('with claims that were changed after it was signed', async () => {
    const [header, , signature] = (await issuer.sign({ sub: 'nobody' })).split('.');
    const [, payload] = (await issuer.sign()).split('.');
    await expectNobody(`${header}.${payload}.${signature}`);
  });

  test('without a signature', async () => {
    const [, payload] = (await issuer.sign()).split('.');
    for (const alg of ['none', 'None', 'NONE', '']) {
      const header = base64url.encode(JSON.stringify({ alg, typ: 'JWT', kid: issuer.key.kid }));
      await expectNobody(`${header}.${payload}.`);
      await expectNobody(`${header}.${payload}.AA`);
    }
  });

  test('signed with the public key as a shared secret', async () => {
    const key = (await importJWK(issuer.key.publicJwk, 'ES256')) as CryptoKey;
    const secrets = [await exportSPKI(key), JSON.stringify(issuer.key.publicJwk), issuer.key.publicJwk.x ?? ''];
    for (const secret of secrets) {
      for (const kid of [issuer.key.kid, undefined]) {
        const header = { alg: 'HS256', typ: 'JWT', ...(kid ? { kid } : {}) };
        const payload = { iss: issuer.url, aud: AUDIENCE, sub: 'somebody', iat: SECONDS, exp: SECONDS + 600 };
        await expectNobody(await new SignJWT(payload).setProtectedHeader(header).sign(new TextEncoder().encode(secret)));
      }
    }
  });

  test('signed with a shared secret that the issuer publishes among its keys', async () => {
    const k = base64url.encode('a secret that everybody knows, as it is published');
    issuer.keys = [...issuer.keys, { kty: 'oct', k, kid: 'shared', alg: 'HS256' }];
    const payload = { iss: issuer.url, aud: AUDIENCE, sub: 'somebody', iat: SECONDS, exp: SECONDS + 600 };
    const signed = new SignJWT(payload).setProtectedHeader({ alg: 'HS256', kid: 'shared' }).sign(base64url.decode(k));
    await expectNobody(await signed);
  });

  test('signed with an encryption key, or with something that is no key', async () => {
    const other = await newKey();
    issuer.keys = [...issuer.keys, { ...other.publicJwk, use: 'enc' }];
    await expectNobody(await issuer.sign({}, {}, other));
    issuer = await newIssuer();
    issuer.keys = [...issuer.keys, { ...other.publicJwk, x: 'AAAA' }];
    await expectNobody(await issuer.sign({}, {}, other));
  });

  test('that is not three parts of base64url', async () => {
    const token = await issuer.sign();
    for (const text of ['', '.', '..', 'a.b.c', `${token}.`, `.${token}`, ` ${token}`, token.replace('.', '')]) {
      await expectNobody(text);
    }
  });

  test('if a claim that is used would not fit into our own tokens', async () => {
    const rule = ruleOf(issuer, { claims: { sub: 'somebody', long: '*' } });
    const other = ruleOf(issuer, { subject: 'ci:other/x' });
    const token = await issuer.sign({ long: 'x'.repeat(1025) });
    expect(await takenFor(await issuer.sign({ long: 'x' }), [rule], issuer.world())).not.toBeNull();
    expect(await takenFor(token, [rule], issuer.world())).toBeNull();
    expect(await takenFor(token, [other], issuer.world())).not.toBeNull();
  });
});

describe('of several rules of an issuer', () => {
  test('those apply whose audience and conditions match', async () => {
    const issuer = await newIssuer();
    const rules = [
      ruleOf(issuer, { subject: 'ci:acme/a', claims: { project_id: '22', kind: 'a*' } }),
      ruleOf(issuer, { subject: 'ci:acme/b', audience: 'elsewhere' }),
      ruleOf(issuer, { subject: 'ci:acme/c', claims: { project_id: '22', absent: '*' } }),
      ruleOf(issuer, { subject: 'ci:acme/d', audience: 'another', claims: { project_id: ['21', '22'] } }),
      ruleOf(issuer, { subject: 'ci:other/e', claims: { project_id: '23' } }),
      ruleOf(issuer, { subject: 'ci:acme/f', issuer: 'https://other.example', claims: { project_id: '22' } }),
    ];
    const token = await issuer.sign({ aud: ['another', AUDIENCE], project_id: '22', kind: 'abc', absent: null });
    const identity = await takenFor(token, rules, issuer.world());
    expect(identity?.rules.map(({ subject }) => subject)).toEqual(['ci:acme/a', 'ci:acme/d']);
    expect(identity?.told.claims).toMatchObject({ iss: issuer.url, sub: 'somebody', project_id: '22', kind: 'abc' });
    expect(identity?.told.claims).not.toHaveProperty('absent');
  });

  test('a condition on the audience works like any other', async () => {
    const issuer = await newIssuer();
    const rule = (aud: string) => ruleOf(issuer, { claims: { sub: 'somebody', aud } });
    expect(await takenFor(await issuer.sign(), [rule('registry.*')], issuer.world())).not.toBeNull();
    expect(await takenFor(await issuer.sign(), [rule('other')], issuer.world())).toBeNull();
  });

  test('a claim called __proto__ is a claim, and inherited properties are none', async () => {
    const issuer = await newIssuer();
    const token = await issuer.sign(JSON.parse('{"__proto__": "a"}'));
    const matched = async (name: string) =>
      (await takenFor(token, [ruleOf(issuer, { claims: JSON.parse(`{"${name}": "*"}`) })], issuer.world())) !== null;
    expect(await matched('__proto__')).toBe(true);
    expect(await matched('constructor')).toBe(false);
    expect(await matched('toString')).toBe(false);
  });

  test('a claim that is a list or an object matches nothing', async () => {
    const issuer = await newIssuer();
    const token = await issuer.sign({ groups: ['admin'], person: { toString: 'admin' }, nothing: null });
    for (const name of ['groups', 'person', 'nothing']) {
      const rule = ruleOf(issuer, { claims: { [name]: '*' } });
      expect(await takenFor(token, [rule], issuer.world())).toBeNull();
    }
  });
});

describe("both forms of GitHub's subject:", () => {
  const OLD = 'repo:acme/api:ref:refs/heads/main';
  const NEW = 'repo:acme@65/api@74:ref:refs/heads/main';
  let issuer: Issuer;
  beforeEach(async () => {
    issuer = await newIssuer();
  });

  async function isSomebody(condition: string, claims: Record<string, unknown>): Promise<boolean> {
    const rule = ruleOf(issuer, { claims: { sub: condition } });
    const identity = await takenFor(await issuer.sign(claims), [rule], issuer.world());
    const statement: RuleStatement = { effect: 'allow', actions: ['pull'], repositories: ['*'] };
    const granted = identity ? statementsOf({ ...rule, statements: [statement] }, identity.told.claims) : [];
    expect(granted).toHaveLength(identity ? 1 : 0);
    return identity !== null;
  }

  test.each([
    [OLD, OLD],
    [OLD, NEW],
    [NEW, OLD],
    [NEW, NEW],
    ['repo:acme/*', NEW],
    ['repo:acme@65/*', OLD],
    ['repo:*@65/*@74:*', OLD],
    ['repo:acme/api:*', 'repo:acme@65/api@74:pull_request'],
    ['repo:acme@65/api@74:environment:*', 'repo:acme/api:environment:a:b/c@1'],
  ])('a condition on %s is met by %s', async (condition, sub) => {
    expect(await isSomebody(condition, { ...GITHUB, sub })).toBe(true);
  });

  test.each<[string, Record<string, unknown>]>([
    [NEW, { sub: OLD, repository_id: '75' }],
    [NEW, { sub: OLD, repository_owner_id: '66' }],
    [NEW, { sub: NEW, repository_id: '75' }],
    [OLD, { sub: NEW, repository_id: '75' }],
    [OLD, { sub: NEW, repository_owner_id: '66' }],
    ['repo:*', { sub: NEW, repository_owner_id: '66' }],
    [NEW, { sub: 'repo:acme@66/api@74:ref:refs/heads/main' }],
    [NEW, { sub: OLD, repository_id: undefined }],
    [OLD, { sub: NEW, repository_owner_id: undefined }],
    [OLD, { sub: 'repo:acme/api2:ref:refs/heads/main' }],
    [OLD, { sub: 'repo:acme@65/api2@74:ref:refs/heads/main' }],
    [NEW, { sub: 'repo:acme@65/api@74:ref:refs/heads/main2' }],
    ['repo:acme/*', { sub: 'repo:acme2@65/api@74:ref:refs/heads/main' }],
    ['repo:acme/*', { sub: 'repo:evil@65/acme/api@74:ref:refs/heads/main' }],
  ])('a condition on %s is not met by %j', async (condition, claims) => {
    expect(await isSomebody(condition, { ...GITHUB, ...claims })).toBe(false);
  });
});

const ISSUER = 'https://issuer.example';

/** The patterns of tags that a rule lets this token push. */
function pushable(statements: RuleStatement[], claims: Record<string, string>): string[] {
  const rule = { subject: 'ci:acme/x', issuer: ISSUER, audience: AUDIENCE, claims: {}, statements, lifetime: 3600 };
  return statementsOf(rule, { iss: ISSUER, ...claims }).flatMap(({ tags }) => tags ?? ['*']);
}

function push(tags: string[], when?: RuleStatement['when']): RuleStatement {
  return { effect: 'allow', actions: ['push', 'retag'], repositories: ['acme/api'], tags, ...(when ? { when } : {}) };
}

describe('one rule maps refs to tags:', () => {
  const statements = [
    push(['main-*'], { ref: 'refs/heads/main' }),
    push(['v*'], { ref: 'refs/tags/v*', ref_type: 'tag' }),
    push(['pr-{pull_request}-*'], { event_name: 'pull_request' }),
  ];
  const refs: [string, Record<string, string>, string[]][] = [
    ['the branch main', { ref: 'refs/heads/main', ref_type: 'branch', event_name: 'push' }, ['main-*']],
    ['a run by hand on main', { ref: 'refs/heads/main', ref_type: 'branch', event_name: 'workflow_dispatch' }, ['main-*']],
    ['another branch', { ref: 'refs/heads/main2', ref_type: 'branch', event_name: 'push' }, []],
    ['a branch called like a tag', { ref: 'refs/heads/v1', ref_type: 'branch', event_name: 'push' }, []],
    ['a branch called like the ref of a tag', { ref: 'refs/heads/refs/tags/v1', ref_type: 'branch', event_name: 'push' }, []],
    ['the tag v1.2', { ref: 'refs/tags/v1.2', ref_type: 'tag', event_name: 'push' }, ['v*']],
    ['another tag', { ref: 'refs/tags/main', ref_type: 'tag', event_name: 'push' }, []],
    ['pull request 7', { ref: 'refs/pull/7/merge', ref_type: 'branch', event_name: 'pull_request' }, ['pr-7-*']],
    ['pull_request_target, whose ref is main', { ref: 'refs/heads/main', event_name: 'pull_request_target' }, []],
    ['pull_request_review of 7', { ref: 'refs/pull/7/merge', event_name: 'pull_request_review' }, []],
    ['a pull request without a number', { ref: 'refs/heads/main', event_name: 'pull_request' }, []],
    ['a token that says nothing', {}, []],
  ];

  test.each(refs)('%s', (_, claims, expected) => {
    expect(pushable(statements, claims)).toEqual(expected);
  });

  test('and the same for GitLab', () => {
    const gitlab = [
      push(['{ref_name}-*'], { ref_type: 'branch', ref_protected: 'true' }),
      push(['{ref_name}'], { ref_type: 'tag', ref: 'v*' }),
      push(['mr-{pull_request}-*'], { pipeline_source: 'merge_request_event' }),
    ];
    const branch = { ref: 'main', ref_type: 'branch', ref_protected: 'true', pipeline_source: 'push' };
    expect(pushable(gitlab, branch)).toEqual(['main-*']);
    expect(pushable(gitlab, { ...branch, ref_protected: 'false' })).toEqual([]);
    expect(pushable(gitlab, { ref: 'v1', ref_type: 'tag', pipeline_source: 'push' })).toEqual(['v1']);
    expect(pushable(gitlab, { ref: 'v1', ref_type: 'branch', ref_protected: 'true', pipeline_source: 'push' })).toEqual([
      'v1-*',
    ]);
    const request = { ...branch, pipeline_source: 'merge_request_event' };
    expect(pushable(gitlab, request)).toEqual([]);
    expect(pushable(gitlab, { ...request, merge_request_iid: '7' })).toEqual(['mr-7-*']);
    expect(pushable(gitlab, { ...request, ref_path: 'refs/merge-requests/8/head' })).toEqual(['mr-8-*']);
    expect(pushable(gitlab, { ...branch, pipeline_source: 'external_pull_request_event' })).toEqual([]);
  });
});

describe('a pull request', () => {
  const request = { ref: 'refs/heads/main', event_name: 'pull_request_target' };

  test('has the rights that rules give to it by name, and none of those for everybody', () => {
    expect(
      pushable([push(['a']), push(['b'], { event_name: 'pull_request*' }), push(['c'], { event_name: 'push' })], request),
    ).toEqual(['b']);
  });

  test('gets nothing by a condition on something else', () => {
    expect(pushable([push(['a'], { ref: 'refs/heads/*' }), push(['b'], { pipeline_source: '*' })], request)).toEqual([]);
    expect(pushable([push(['a'], { event_name: '*' })], { pipeline_source: 'merge_request_event' })).toEqual([]);
  });

  test('is subject to denials for everybody', () => {
    const deny: RuleStatement = { effect: 'deny', actions: ['push'], repositories: ['acme/api'], tags: ['latest'] };
    expect(pushable([deny], request)).toEqual(['latest']);
    expect(pushable([{ ...deny, when: { event_name: 'push' } }], request)).toEqual([]);
  });
});

describe('a claim about the source that is not readable text', () => {
  test.each(
    ['event_name', 'pipeline_source', 'build_source', 'ref_type'].flatMap((name) =>
      [['push'], { name: 'push' }, 'x'.repeat(2000)].map((value): [string, unknown] => [name, value]),
    ),
  )('makes the job a foreign one: %s', async (name, value) => {
    const issuer = await newIssuer();
    const rule = ruleOf(issuer, { statements: [push(['plain']), push(['protected'], { ref_protected: 'true' })] });
    const claimed = { sub: 'somebody', ref: 'main', ref_protected: 'true' };
    const identity = await takenFor(await issuer.sign({ ...claimed, [name]: value }), [rule], issuer.world());
    expect(statementsOf(rule, identity?.told.claims ?? {}).flatMap(({ tags }) => tags)).toEqual(['protected']);
    const absent = await takenFor(await issuer.sign({ ...claimed, [name]: null }), [rule], issuer.world());
    expect(statementsOf(rule, absent?.told.claims ?? {}).flatMap(({ tags }) => tags)).toEqual(['plain', 'protected']);
  });
});

describe('a source that is not the repository itself', () => {
  const plain = push(['plain']);
  const protectedOnly = push(['protected'], { ref_protected: 'true' });
  const anySource = push(['any'], { event_name: '*', pipeline_source: '*', build_source: '*', ref_type: '*' });

  test.each([
    ...['workflow_run', 'issue_comment', 'issues', 'discussion', 'discussion_comment', 'fork', 'watch', 'gollum', 'check_run'],
    ...[
      'check_suite',
      'status',
      'deployment',
      'deployment_status',
      'label',
      'public',
      'registry_package',
      'page_build',
      'delete',
    ],
    ...['an_event_of_next_year', '', 'PUSH', 'push ', 'constructor'],
  ])('of GitHub: %j gets what names it or asks for a protected ref, and nothing else', (source) => {
    const claims = { event_name: source, ref: 'refs/heads/main', ref_type: 'branch', ref_protected: 'true' };
    const others = [plain, push(['other'], { event_name: 'push' }), push(['ref'], { ref: 'refs/heads/main' }), anySource];
    expect(pushable(others, claims)).toEqual([]);
    expect(pushable([plain, protectedOnly], claims)).toEqual(['protected']);
    expect(pushable([protectedOnly], { ...claims, ref_protected: 'false' })).toEqual([]);
    if (source !== '') expect(pushable([plain, push(['named'], { event_name: source })], claims)).toEqual(['named']);
  });

  test.each([
    ...['parent_pipeline', 'pipeline', 'external', 'chat', 'ondemand_dast_scan', 'ondemand_dast_validation'],
    ...['security_orchestration_policy', 'a_source_of_next_year', 'Push'],
  ])('of GitLab: %j gets what names it or asks for a protected ref, and nothing else', (source) => {
    const claims = { pipeline_source: source, ref: 'main', ref_type: 'branch', ref_protected: 'true' };
    expect(pushable([plain, push(['ref'], { ref: 'main' })], claims)).toEqual([]);
    expect(pushable([plain, protectedOnly], claims)).toEqual(['protected']);
    expect(pushable([plain, push(['named'], { pipeline_source: source })], claims)).toEqual(['named']);
  });

  test.each<[string, string]>([
    ['event_name', 'push'],
    ['event_name', 'create'],
    ['event_name', 'release'],
    ['event_name', 'schedule'],
    ['event_name', 'workflow_dispatch'],
    ['event_name', 'repository_dispatch'],
    ['event_name', 'merge_group'],
    ['pipeline_source', 'push'],
    ['pipeline_source', 'web'],
    ['pipeline_source', 'webide'],
    ['pipeline_source', 'schedule'],
    ['pipeline_source', 'api'],
    ['pipeline_source', 'trigger'],
    ['build_source', 'webhook'],
  ])('is not %s %s', (claim, source) => {
    expect(pushable([plain], { [claim]: source, ref_type: 'branch' })).toEqual(['plain']);
  });

  test.each<[string, string]>([
    ['event_name', 'pull_request'],
    ['event_name', 'pull_request_target'],
    ['event_name', 'pull_request_review_comment'],
    ['pipeline_source', 'merge_request_event'],
    ['pipeline_source', 'external_pull_request_event'],
    ['ref_type', 'pull-request'],
  ])('%s %s gets nothing for a protected ref either', (claim, source) => {
    const claims = { [claim]: source, ref: 'main', ref_protected: 'true' };
    expect(pushable([plain, protectedOnly], claims)).toEqual([]);
    expect(pushable([protectedOnly, push(['named'], { [claim]: source })], claims)).toEqual(['named']);
  });

  test('may be named as a whole by the rule', () => {
    const rule = { subject: 'ci:x', issuer: ISSUER, audience: AUDIENCE, lifetime: 3600, statements: [plain] };
    const claims = { iss: ISSUER, event_name: 'workflow_run', ref_protected: 'true' };
    const granted = (conditions: TrustRule['claims']) => statementsOf({ ...rule, claims: conditions }, claims).length;
    expect(granted({ event_name: 'workflow_run' })).toBe(1);
    expect(granted({ ref_protected: 'true' })).toBe(1);
    expect(granted({ ref_protected: '*' })).toBe(0);
    expect(granted({ event_name: '*' })).toBe(0);
  });
});

describe('a changed rule', () => {
  const rule: TrustRule = {
    subject: 'ci:acme/x',
    issuer: ISSUER,
    audience: AUDIENCE,
    claims: { project_id: '22' },
    statements: [{ effect: 'allow', actions: ['pull'], repositories: ['acme/*'] }],
    lifetime: 3600,
  };

  test('is applied again to existing tokens, with the claims they had', () => {
    const claims = { iss: ISSUER, project_id: '22' };
    expect(statementsOf(rule, claims)).toEqual(rule.statements);
    expect(statementsOf({ ...rule, claims: { project_id: '23' } }, claims)).toEqual([]);
    expect(statementsOf({ ...rule, claims: { project_id: '22', environment: 'prod' } }, claims)).toEqual([]);
    expect(statementsOf({ ...rule, issuer: 'https://other.example' }, claims)).toEqual([]);
  });
});

describe('a placeholder', () => {
  test.each<[string, string, string[]]>([
    ['of a plain branch', 'refs/heads/main', ['b-main-*']],
    ['of a branch with a slash', 'refs/heads/feature/x', ['b-feature..x-*']],
    ['of a branch with the dash that once stood for it', 'refs/heads/feature-x', ['b-feature-x-*']],
    ['of a branch with two dashes', 'refs/heads/a--b-', ['b-a-...2db...2d-*']],
    ['of a star', 'refs/heads/*', ['b-...2a-*']],
    ['of a star within', 'refs/heads/a*b', ['b-a...2ab-*']],
    ['of a way up', 'refs/heads/../', []],
    ['of two lines', 'refs/heads/a\nb', ['b-a...0ab-*']],
    ['of a placeholder', 'refs/heads/{ref}', ['b-...7bref...7d-*']],
    ['of letters beyond the alphabet', 'refs/heads/é\u212a', ['b-...c3...a9...e2...84...aa-*']],
    ['of nothing', 'refs/heads/', []],
    ['of an empty ref', '', []],
    ['of a ref that is no branch or tag', 'refs/pull/7/merge', []],
    ['of what replaces', 'refs/heads/$&$1', ['b-...24...26...241-*']],
    ['of a git tag, which may have the name of a branch', 'refs/tags/main', []],
  ])('%s', (_, ref, expected) => {
    expect(pushable([push(['b-{ref_name}-*'])], { ref })).toEqual(expected);
  });

  test('without a claim drops its pattern, and the statement if none is left', () => {
    expect(pushable([push(['a-{actor}', 'b-{ref_name}', 'c'])], { ref: 'refs/heads/main' })).toEqual(['b-main', 'c']);
    expect(pushable([push(['a-{actor}', '{constructor}', '{__proto__}'])], { ref: 'refs/heads/main' })).toEqual([]);
    expect(pushable([push(['a-{actor}'])], { actor: '' })).toEqual([]);
  });

  test('in a repository name is one component, and dropped if it would contain other characters', () => {
    const names = (repositories: string[], claims: Record<string, string>) => {
      const rule = { subject: 'ci:x', issuer: ISSUER, audience: AUDIENCE, claims: {}, lifetime: 3600 };
      const statement: RuleStatement = { effect: 'allow', actions: ['pull'], repositories };
      return statementsOf({ ...rule, statements: [statement] }, { iss: ISSUER, ...claims }).map((one) => one.repositories);
    };
    expect(names(['acme/{ref_name}'], { ref: 'refs/heads/feature-x' })).toEqual([['acme/feature-x']]);
    expect(names(['acme/{ref_name}'], { ref: 'refs/heads/feature/x' })).toEqual([]);
    expect(names(['acme/{ref_name}'], { ref: 'refs/heads/Feature-x' })).toEqual([]);
    expect(names(['acme/{actor}/*'], { actor: '../*' })).toEqual([]);
    expect(names(['acme/{actor}'], { actor: 'Octo-Cat' })).toEqual([['acme/octo-cat']]);
    expect(names(['acme/{actor}'], { actor: '\u212aelvin' })).toEqual([]);
    expect(names(['{repository}'], { repository: 'Acme/API' })).toEqual([['acme/api']]);
    expect(names(['mirror/{project_path}/*'], { project_path: 'a/B/*' })).toEqual([]);
    expect(names(['mirror/{project_path}/*'], { project_path: 'a/B/c' })).toEqual([['mirror/a/b/c/*']]);
    expect(names(['acme/{actor}', 'acme/fixed'], {})).toEqual([['acme/fixed']]);
    expect(names(['acme/{actor}'], {})).toEqual([]);
  });

  test('without a claim in a denial denies more, never less', () => {
    const deny: RuleStatement = {
      effect: 'deny',
      actions: ['push'],
      repositories: ['acme/{actor}-*', 'acme/b'],
      tags: ['x', '{ref_name}'],
    };
    const rule = { subject: 'ci:x', issuer: ISSUER, audience: AUDIENCE, claims: {}, statements: [deny], lifetime: 3600 };
    const { effect, actions } = deny;
    expect(statementsOf(rule, { iss: ISSUER })).toEqual([{ effect, actions, repositories: ['acme/*-*', 'acme/b'] }]);
    expect(statementsOf(rule, { iss: ISSUER, actor: 'a', ref: 'main', ref_type: 'branch' })).toEqual([
      { effect, actions, repositories: ['acme/a-*', 'acme/b'], tags: ['x', 'main'] },
    ]);
  });

  test('never gives two values the same tag, or a value the tags of another', { tags: 'slow' }, () => {
    const value = fc.string({
      unit: fc.constantFrom('a', '-', '.', '/', '_', '2', 'f', 'd', '+', 'A'),
      minLength: 1,
      maxLength: 8,
    });
    const end = fc.string({ unit: fc.constantFrom('a', '-', '.', '2', 'f'), maxLength: 5 });
    const one = (template: string, claim: string) => pushable([push([template])], { actor: claim })[0];
    fc.assert(
      fc.property(value, value, end, (some, other, rest) => {
        fc.pre(some !== other);
        const [first, second] = [one('t-{actor}', some), one('t-{actor}', other)];
        if (first !== undefined) expect(first).not.toBe(second);
        if (first === undefined) return;
        expect(matches(one('t-{actor}--*', other) ?? '', `${first}--${rest}`)).toBe(false);
        expect(matches(one('*--{actor}', other) ?? '', `${rest}--${one('{actor}', some)}`)).toBe(false);
      }),
      { numRuns: 20_000 },
    );
  });

  test('for a ref is a branch, or a git tag only if the conditions are for tags', () => {
    const kinds = (claims: Record<string, string>, when?: RuleStatement['when']) =>
      ['{ref_name}', 'r-{ref}'].flatMap((tag) => pushable([push([tag], when)], claims));
    const [branch, tag] = [
      { ref: 'refs/heads/v1', ref_type: 'branch' },
      { ref: 'refs/tags/v1', ref_type: 'tag' },
    ];
    // The claim `ref` of GitHub tells a branch from a tag. That of GitLab does not.
    const [plainBranch, plainTag] = [
      { ref: 'v1', ref_type: 'branch' },
      { ref: 'v1', ref_type: 'tag' },
    ];
    for (const when of [
      undefined,
      { ref: ['refs/heads/*', 'refs/tags/*', 'v1'] },
      { ref_type: ['branch', 'tag'] },
      { ref: '*' },
    ]) {
      expect(kinds(branch, when)).toEqual(['v1', 'r-refs..heads..v1']);
      expect(kinds(tag, when)).toEqual(['r-refs..tags..v1']);
      expect(kinds(plainBranch, when)).toEqual(['v1', 'r-v1']);
      expect(kinds(plainTag, when)).toEqual([]);
    }
    for (const when of [{ ref_type: 'tag' }, { ref_type: 'tag', ref: '*' }]) {
      expect(kinds(tag, when)).toEqual(['v1', 'r-refs..tags..v1']);
      expect(kinds(plainTag, when)).toEqual(['v1', 'r-v1']);
      expect(kinds(branch, when)).toEqual([]);
    }
    expect(kinds(tag, { ref: 'refs/tags/v*' })).toEqual(['v1', 'r-refs..tags..v1']);
  });

  test('for digits is dropped for other characters', () => {
    expect(pushable([push(['run-{run_id}-*', 'sha-{sha}'])], { run_id: '5-6', sha: 'abc012' })).toEqual(['sha-abc012']);
    expect(pushable([push(['run-{run_id}-*'])], { run_id: '56' })).toEqual(['run-56-*']);
  });

  test('never widens a pattern, whatever its value', { tags: 'slow' }, () => {
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('*', '/', '.', '-', 'a', '{', '}', '\n') }),
    );
    const tag = fc.stringMatching(/^[A-Za-z0-9._-]{0,12}$/);
    fc.assert(
      fc.property(value, tag, (claim, middle) => {
        const claims = { actor: claim, ref: claim, repository: claim };
        for (const one of pushable([push(['pre-{actor}-end', 'pre-{ref_name}-end'])], claims)) {
          expect(one).toMatch(/^pre-[A-Za-z0-9._-]+-end$/);
          // Without a star it matches itself and nothing else.
          expect(matches(one, `pre-${middle}-end`)).toBe(one === `pre-${middle}-end`);
        }
        const rule = { subject: 'ci:x', issuer: ISSUER, audience: AUDIENCE, claims: {}, lifetime: 3600 };
        const repositories = ['acme/{actor}/{repository}'];
        const statements: RuleStatement[] = [{ effect: 'allow', actions: ['pull'], repositories }];
        for (const { repositories: names } of statementsOf({ ...rule, statements }, { iss: ISSUER, ...claims })) {
          expect(names).toEqual([expect.stringMatching(/^acme\/[a-z0-9._-]+\/[a-z0-9._/-]+$/)]);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('never reaches a tag outside of the text before it', () => {
    const value = fc.string({ unit: 'binary', minLength: 1 });
    const tag = fc.stringMatching(/^\w[\w.-]{0,30}$/);
    fc.assert(
      fc.property(value, tag, (claim, name) => {
        const [pattern] = pushable([push(['pr-{actor}-*'])], { actor: claim });
        if (matches(pattern ?? '', name)) expect(name.startsWith('pr-')).toBe(true);
      }),
    );
  });
});

test('a condition holds exactly if one of its patterns matches, for any claim', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', ':', '/', '*') });
  fc.assert(
    fc.property(text, fc.array(text, { minLength: 1, maxLength: 4 }), (value, patterns) => {
      const rule = { subject: 'ci:x', issuer: ISSUER, audience: AUDIENCE, claims: { kind: patterns }, lifetime: 3600 };
      const statements: RuleStatement[] = [{ effect: 'allow', actions: ['pull'], repositories: ['a'] }];
      const holds = statementsOf({ ...rule, statements }, { iss: ISSUER, kind: value }).length > 0;
      expect(holds).toBe(patterns.some((pattern) => matches(pattern, value)));
    }),
  );
});
