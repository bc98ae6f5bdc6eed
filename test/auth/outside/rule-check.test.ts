import { describe, expect, test } from 'vitest';
import type { RuleStatement, TrustRule } from '../../../src/auth/outside/oidc.ts';
import { checkRule } from '../../../src/auth/outside/rule-check.ts';

const GITHUB = 'https://token.actions.githubusercontent.com';
const PULL: RuleStatement = { effect: 'allow', actions: ['pull'], repositories: ['acme/*'] };

const RULE: TrustRule = {
  subject: 'ci:acme/deploy',
  issuer: GITHUB,
  audience: 'registry.test',
  claims: { repository_id: '74' },
  statements: [PULL],
  lifetime: 3600,
};

function refusal(rule: Partial<TrustRule>, organization = 'acme', insecure = false): string | null {
  try {
    checkRule({ ...RULE, ...rule }, organization, insecure);
    return null;
  } catch (error) {
    expect(error).toMatchObject({ reason: 'request-invalid' });
    return (error as Error).message;
  }
}

function refusalOf(statement: Partial<RuleStatement>): string | null {
  return refusal({ statements: [{ ...PULL, ...statement }] });
}

describe('a rule is accepted', () => {
  test.each<[string, Partial<TrustRule>]>([
    ['of one repository', {}],
    ['of one of several owners', { claims: { repository_owner_id: ['65', '66'], ref: 'refs/heads/*' } }],
    ['of an enterprise', { issuer: `${GITHUB}/acme`, claims: { enterprise_id: '5' } }],
    ['of one GitLab project', { issuer: 'https://gitlab.com', claims: { project_id: '22', ref_protected: 'true' } }],
    [
      'of a group of a GitLab elsewhere',
      { issuer: 'https://git.acme.example', claims: { project_path: 'a/*', namespace_id: '5' } },
    ],
    ['of a subject of any other issuer', { issuer: 'https://tenant.auth0.com/', claims: { sub: 'client-*' } }],
    [
      'that binds tags to refs',
      {
        statements: [
          {
            ...PULL,
            actions: ['push', 'retag'],
            tags: ['main-*', '{ref_name}'],
            when: { ref: ['refs/heads/main', 'refs/tags/v*'] },
          },
          {
            ...PULL,
            actions: ['push'],
            repositories: ['acme/{repository_id}', 'acme/x-{ref_name}/*'],
            tags: ['pr-{pull_request}-*'],
          },
          { ...PULL, effect: 'deny', actions: ['delete'] },
        ],
      },
    ],
  ])('%s', (_, rule) => expect(refusal(rule)).toBeNull());

  test('for the registry as a whole, about any repository', () => {
    expect(
      refusal({ subject: 'ci:deploy', statements: [{ ...PULL, repositories: ['*', '{repository}', 'a'] }] }, ''),
    ).toBeNull();
  });

  test('for an issuer on this machine, if allowed', () => {
    const rule = { issuer: 'http://localhost:8080', claims: { sub: 'a' } };
    expect(refusal(rule, 'acme', true)).toBeNull();
    expect(refusal(rule)).toMatch(/^issuer: /);
  });
});

describe('a rule is refused', () => {
  test.each(['user:acme', 'ci:', 'ci:deploy', 'ci:other/deploy', 'ci:acme/a/b', 'ci:acme/A', 'ci:acme/', 'robot:acme/x'])(
    'with the name of %s in an organization',
    (subject) => expect(refusal({ subject })).toMatch(/^the rule does not belong to this organization/),
  );

  test('with the name of an organization for the registry as a whole', () => {
    expect(refusal({}, '')).toMatch(/^the rule does not belong to this organization/);
  });

  test.each([
    '',
    'gitlab.com',
    `${GITHUB}/?a=b`,
    `${GITHUB}#a`,
    'https://a:b@gitlab.com',
    'https://10.0.0.1',
    'https://localhost',
  ])('with the issuer %j', (issuer) => expect(refusal({ issuer })).toMatch(/^issuer: must be the https URL/));

  test.each(['', 'a\nb', 'a'.repeat(256)])('with the audience %j', (audience) => {
    expect(refusal({ audience })).toMatch(/^audience: .* host of this registry$/);
  });

  test.each<[string, TrustRule['claims']]>([
    ['without conditions', {}],
    ['with a condition that everybody fulfils', { sub: '*' }],
    ['with a condition that everybody fulfils in two stars', { sub: '**' }],
    ['with a condition that can be fulfilled by everybody', { sub: ['a', '*'] }],
    ['with conditions on what says nothing', { iss: 'https://a.example', aud: 'a', exp: '1', nbf: '1', iat: '1', jti: 'a' }],
  ])('%s', (_, claims) => {
    expect(refusal({ issuer: 'https://issuer.example', claims })).toMatch(/^claims: must have a condition/);
  });

  test.each<[string, TrustRule['claims']]>([
    ['a name', { repository: 'acme/api' }],
    ['a subject', { sub: 'repo:acme/api:*' }],
    ['an id of anything', { repository_id: '*', sub: 'repo:acme/api:*' }],
    ['the beginning of an id', { repository_id: '7*' }],
    ['an id or anything', { repository_owner_id: ['65', '*'], ref: 'refs/heads/main' }],
    ['a name in place of an id', { repository_owner_id: 'acme' }],
    ["another platform's id", { project_id: '22' }],
  ])('for GitHub, by %s alone', (_, claims) => {
    const issuers = [
      GITHUB,
      `${GITHUB}/acme`,
      'https://token.actions.acme.ghe.com',
      'https://git.acme.example/_services/token',
    ];
    for (const issuer of issuers)
      expect(refusal({ issuer, claims })).toMatch(/^claims: must have one of repository_id, .* exact number/);
  });

  test.each<[string, string, TrustRule['claims']]>([
    ['the path', 'https://gitlab.com', { project_path: 'acme/api' }],
    ['the subject', 'https://gitlab.com', { sub: 'project_path:acme/api:*' }],
    ['the path elsewhere', 'https://git.acme.example', { project_path: 'acme/api' }],
    ['the group elsewhere', 'https://git.acme.example', { namespace_path: 'acme' }],
    ['the subject elsewhere', 'https://git.acme.example', { sub: 'project_path:acme/api:ref_type:branch:ref:main' }],
    ['any id', 'https://gitlab.com', { project_id: '*', ref: 'main' }],
  ])('for GitLab, by %s alone', (_, issuer, claims) => {
    expect(refusal({ issuer, claims })).toMatch(/^claims: must have one of project_id, namespace_id as an exact number/);
  });

  test.each<[string, TrustRule['claims'], RegExp]>([
    ['too many', Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`c${n}`, 'a'])), /^claims: must have up to 20/],
    ['no name', { '': 'a' }, /^claims: "" is not a valid name/],
    ['a name of spaces', { 'a b': 'a' }, /^claims: "a b" is not a valid name/],
    ['no pattern', { ref: [] }, /^claims\.ref: must have 1 to 20 patterns/],
    ['too many patterns', { ref: Array(21).fill('a') }, /^claims\.ref: must have 1 to 20 patterns/],
    ['an empty pattern', { ref: '' }, /^claims\.ref: a pattern must have 1 to 255/],
    ['a long pattern', { ref: 'a'.repeat(256) }, /^claims\.ref: a pattern must have 1 to 255/],
  ])('with conditions that are %s', (_, claims, message) => {
    expect(refusal({ claims: { repository_id: '74', ...claims } })).toMatch(message);
    expect(refusalOf({ when: claims })).toMatch(new RegExp(message.source.replace('claims', 'statements\\[0\\]\\.when')));
  });

  test.each<[string, Partial<RuleStatement>, RegExp]>([
    ['of no known effect', { effect: 'permit' as 'allow' }, /\.effect: must be allow or deny/],
    ['of no action', { actions: [] }, /\.actions: must be a list of pull, push/],
    ['of an unknown action', { actions: ['fly' as 'pull'] }, /\.actions: must be a list of pull, push/],
    ['about nothing', { repositories: [] }, /\.repositories: must be 1 to 20/],
    ['about too much', { repositories: Array(21).fill('acme/a') }, /\.repositories: must be 1 to 20/],
    ['about no name', { repositories: ['acme/API'] }, /\.repositories: must be 1 to 20/],
    ['about half a name', { repositories: ['acme/'] }, /\.repositories: must be 1 to 20/],
    ['with half a placeholder', { repositories: ['acme/{a'] }, /\.repositories: must be 1 to 20/],
    ['with an empty placeholder', { repositories: ['acme/{}'] }, /\.repositories: must be 1 to 20/],
    ['about everything', { repositories: ['*'] }, /begin with acme\//],
    ['about what begins alike', { repositories: ['acme*'] }, /begin with acme\//],
    ['about another organization', { repositories: ['acme/a', 'other/a'] }, /begin with acme\//],
    ['about whatever a token says', { repositories: ['{repository_owner}/api'] }, /begin with acme\//],
    ['about somebody else', { principals: ['*'] }, /\.principals: /],
    ['with no tags', { actions: ['push'], tags: [] }, /\.tags: must be 1 to 20 patterns/],
    ['with tags of other letters', { actions: ['push'], tags: ['a/b'] }, /\.tags: must be 1 to 20 patterns/],
    ['with a placeholder in a placeholder', { actions: ['push'], tags: ['{{a}}'] }, /\.tags: must be 1 to 20 patterns/],
    ['with too many tags', { actions: ['push'], tags: Array(21).fill('a') }, /\.tags: must be 1 to 20 patterns/],
    ['with tags to pull', { actions: ['push', 'pull'], tags: ['a'] }, /\.tags: limit only push, retag, delete/],
  ])('with a statement %s', (_, statement, message) => {
    expect(refusalOf(statement)).toMatch(message);
    expect(refusalOf(statement)).toMatch(/^statements\[0\]/);
  });

  test('without statements, with too many, or too long in total', () => {
    expect(refusal({ statements: [] })).toMatch(/^statements: must be a list of 1 to 20/);
    expect(refusal({ statements: Array(21).fill(PULL) })).toMatch(/^statements: must be a list of 1 to 20/);
    const repositories = Array(20).fill(`acme/${'a'.repeat(200)}`);
    expect(refusal({ statements: Array(20).fill({ ...PULL, repositories }) })).toMatch(
      /^a trust rule has up to 16384 bytes .* this one has \d+\. Nothing was saved$/,
    );
  });

  test('above 16 KiB in bytes, however few its characters', () => {
    const conditions = (text: string) =>
      Object.fromEntries(Array.from({ length: 19 }, (_, n) => [`c${n}`, Array(15).fill(text)]));
    expect(refusal({ claims: { repository_id: '74', ...conditions('e'.repeat(50)) } })).toBeNull();
    expect(refusal({ claims: { repository_id: '74', ...conditions('€'.repeat(50)) } })).toMatch(/up to 16384 bytes/);
  });

  test.each([0, 59, 43_201, 1.5, Number.NaN, -3600])('with a lifetime of %d seconds', (lifetime) => {
    expect(refusal({ lifetime })).toBe('lifetime: must be 60 to 43200 seconds');
  });

  test.each([
    ['{actor}-*', '--'],
    ['*{actor}', '--'],
    ['*-x-{actor}', '--'],
    ['{actor}*', '--'],
    ['{actor}-{environment}', '--'],
    ['{actor}-{run_id}-*', '--'],
    ['{run_id}*', '-'],
    ['{run_id}{run_attempt}', '-'],
    ['{run_id}a{run_attempt}', '-'],
    ['{actor}{run_id}', '-'],
  ])('with the tags %s, whose values run into each other', (tag, separator) => {
    expect(refusalOf({ actions: ['push'], tags: [tag] })).toMatch(
      new RegExp(`^statements\\[0\\]\\.tags: .* is ambiguous: .* run into each other, .*: put ${separator} between them`),
    );
  });

  test.each([
    '{actor}',
    'x-{actor}-y',
    '{actor}--*',
    '*--{actor}',
    '{actor}--{environment}',
    '{actor}-{run_id}',
    'pr-{pull_request}-*',
  ])('but not with the tags %s', (tag) => expect(refusalOf({ actions: ['push'], tags: [tag] })).toBeNull());

  test('if values in its repository patterns are not separated', () => {
    for (const name of ['acme/{actor}-*', 'acme/{actor}*', 'acme/*{actor}', 'acme/{actor}-{environment}']) {
      expect(refusalOf({ repositories: [name] })).toMatch(/\.repositories: .* is ambiguous: /);
    }
    for (const name of ['acme/{actor}', 'acme/{actor}/*', 'acme/{repository}/*', 'acme/{actor}/x-{environment}']) {
      expect(refusalOf({ repositories: [name] })).toBeNull();
    }
  });
});
