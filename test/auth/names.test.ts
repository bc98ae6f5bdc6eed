import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isRepositoryName } from '../../src/oci/name.ts';
import {
  confusableSkeleton,
  isPrincipal,
  loginNameOf,
  nameOf,
  namespaceOf,
  organizationOf,
  parseName,
  parseNewName,
} from '../../src/vocabulary/names.ts';

const REFUSED = expect.objectContaining({ reason: 'request-invalid' });
const letters = fc.constantFrom('a', 'z', '0', '9', '.', '_', '-');
const likely = fc.string({ unit: letters, maxLength: 8 });
const names = fc.stringMatching(/^[a-z0-9]{1,4}([._-][a-z0-9]{1,4}){0,3}$/);

/** True for names that are valid as the first component of a repository name and that separators do not make confusable. */
function isName(text: string): boolean {
  return isRepositoryName(text) && !/\/|__|--/.test(text) && text.length <= 64;
}

function isParsed(text: string): boolean {
  try {
    return parseName(text) === text;
  } catch {
    return false;
  }
}

describe('a name', () => {
  test('is valid as the first component of repository names, with single separators', () => {
    const thrownTogether = fc.string({
      unit: fc.constantFrom('a', '0', '.', '_', '-', '/', ':', '+', '*', ' ', 'é', '\n', '\0'),
      maxLength: 8,
    });
    fc.assert(
      fc.property(fc.oneof(likely, thrownTogether, names), (text) => isParsed(text) === isName(text)),
      { numRuns: 20_000 },
    );
  });

  test('is stored in lower case, however it is written', () => {
    const written = names.chain((name) =>
      fc.tuple(fc.constant(name), fc.array(fc.boolean(), { minLength: name.length, maxLength: name.length })),
    );
    fc.assert(
      fc.property(written, ([name, upper]) => {
        const text = [...name].map((char, n) => (upper[n] ? char.toUpperCase() : char)).join('');
        expect(parseName(text)).toBe(name);
      }),
    );
  });

  test('has up to 64 characters', () => {
    expect(parseName('a'.repeat(64))).toBe('a'.repeat(64));
    expect(() => parseName('a'.repeat(65))).toThrow(REFUSED);
    expect(() => parseName('')).toThrow(REFUSED);
  });

  test.each([
    ['beginning with a separator', '-acme'],
    ['ending with a separator', 'acme.'],
    ['with two separators together', 'ac--me'],
    ['with two kinds of separator together', 'ac.-me'],
    ['with a slash', 'acme/api'],
    ['with a colon', 'user:acme'],
    ['with a plus, which stands for the slash in a login', 'acme+ci'],
    ['a pattern', 'acme*'],
    ['everyone', '*'],
    ['a prototype key', '__proto__'],
    ['with a homoglyph', 'аcme'],
    ['with a line break', 'acme\n'],
    ['with a NUL', 'acme\0'],
    ['with a right-to-left override', 'ac\u202eme'],
    ['with a dotted capital I', '\u0130nfo'],
    ['with a letter that lower-cases into the grammar', '\u212Aate'],
  ])('is not %s', (_, text) => {
    expect(() => parseName(text)).toThrow(REFUSED);
    expect(() => parseNewName(text)).toThrow(REFUSED);
  });
});

describe('a normalized new name', () => {
  test.each([
    'admin',
    'v2',
    'api',
    'token',
    'auth',
    'login',
    'cdn-cgi',
    'library',
    'berth',
    'registry',
    'anonymous',
    'undefined',
    'null',
  ])('is not %s, in whatever case, though that can be asked for', (name) => {
    expect(() => parseNewName(name)).toThrow(REFUSED);
    expect(() => parseNewName(name.toUpperCase())).toThrow(REFUSED);
    expect(parseName(name)).toBe(name);
  });

  test.each(['admin2', 'v22', 'api-team', 'my.token', 'constructor', 'tostring', 'valueof'])('may be %s', (name) => {
    expect(parseNewName(name)).toBe(name);
  });

  test('is in lower case', () => {
    expect(parseNewName('Acme-IO')).toBe('acme-io');
  });
});

describe('confusable names', () => {
  test.each([
    ['acme-io', 'acmeio'],
    ['acme.io', 'acme_io'],
    ['paypa1', 'paypal'],
    ['rnail', 'mail'],
    ['vvork', 'work'],
    ['g00gle', 'google'],
    ['5tore', 'store'],
    ['ibrn', '1bm'],
    ['r-n', 'm'],
    ['v.v', 'w'],
  ])('%s and %s have one likeness', (one, other) => {
    expect(confusableSkeleton(one)).toBe(confusableSkeleton(other));
  });

  test.each([
    ['acme', 'acne'],
    ['acme', 'acmee'],
    ['acme', 'acme2'],
    ['nail', 'mail'],
    ['ci', 'c'],
    ['nr', 'm'],
  ])('%s and %s are not among them', (one, other) => {
    expect(confusableSkeleton(one)).not.toBe(confusableSkeleton(other));
  });

  const LOOKS: [string, string][] = [
    ['0', 'o'],
    ['1', 'l'],
    ['i', 'l'],
    ['1', 'i'],
    ['5', 's'],
    ['rn', 'm'],
    ['vv', 'w'],
    ['', '-'],
    ['.', '_'],
  ];

  test('have one skeleton wherever they differ, and whatever is around that', () => {
    const around = fc.string({ unit: fc.constantFrom('a', 'r', 'n', 'm', 'l', '1', '0', '-'), maxLength: 4 });
    fc.assert(
      fc.property(around, fc.constantFrom(...LOOKS), around, (before, [one, other], after) => {
        expect(confusableSkeleton(before + one + after)).toBe(confusableSkeleton(before + other + after));
      }),
      { numRuns: 5000 },
    );
  });

  test('have one skeleton next to a v and a w, too', () => {
    expect(confusableSkeleton('vvv')).toBe(confusableSkeleton('vw'));
    expect(confusableSkeleton('vvv')).toBe(confusableSkeleton('wv'));
  });
});

describe('a principal', () => {
  test.each(['*', 'user:alice', 'user:a.b-c_d', 'organization:acme', 'team:acme/dev', 'robot:acme/ci'])('may be %s', (text) => {
    expect(isPrincipal(text)).toBe(true);
  });

  test.each([
    ['nothing', ''],
    ['a name without a kind', 'alice'],
    ['a kind alone', 'user'],
    ['a kind with a letter more, and no colon', 'users'],
    ['a kind without a name', 'user:'],
    ['a name alone', ':alice'],
    ['of no kind there is', 'constructor:alice'],
    ['of a kind that does not act', 'key:abc'],
    ['a repository', 'repository:acme'],
    ['in upper case', 'user:Alice'],
    ['of a kind in upper case', 'User:alice'],
    ['a pattern', 'user:*'],
    ['a pattern of all teams', 'team:acme/*'],
    ['more than everyone', '**'],
    ['a user within something', 'user:acme/alice'],
    ['an organization within something', 'organization:acme/dev'],
    ['a team of nobody', 'team:dev'],
    ['a team too deep', 'team:acme/dev/ops'],
    ['a robot of nobody', 'robot:ci'],
    ['a robot whose organization is empty', 'robot:/ci'],
    ['a robot without a name', 'robot:acme/'],
    ['a trust rule', 'ci:acme/deploy'],
    ['with a second colon', 'user:user:alice'],
    ['with a space', 'user: alice'],
    ['with a line break', 'user:alice\n'],
    ['too long', `user:${'a'.repeat(65)}`],
    ['a list', 'user:alice,user:bob'],
  ])('is not %s', (_, text) => {
    expect(isPrincipal(text)).toBe(false);
  });

  test('is a kind, a colon and as many names as the kind has', () => {
    const KINDS: Record<string, number[]> = { user: [1], organization: [1], team: [2], robot: [2] };
    const kinds = fc.constantFrom(...Object.keys(KINDS), 'key', 'repository', 'everyone', '');
    const texts = fc.tuple(
      kinds,
      fc.constantFrom(':', ':', ':', '', '/', 's'),
      fc.array(fc.oneof(names, likely), { maxLength: 3 }),
    );
    fc.assert(
      fc.property(texts, ([kind, colon, parts]) => {
        const right = colon === ':' && KINDS[kind]?.includes(parts.length) === true && parts.every(isName);
        expect(isPrincipal(`${kind}${colon}${parts.join('/')}`)).toBe(right);
      }),
      { numRuns: 10_000 },
    );
  });
});

describe('the parts of a subject', () => {
  test.each([
    ['user:alice', 'alice', '', 'alice'],
    ['organization:acme', 'acme', '', 'acme'],
    ['team:acme/dev', 'acme/dev', 'acme', 'acme+dev'],
    ['robot:acme/ci', 'acme/ci', 'acme', 'acme+ci'],
    ['ci:acme/deploy', 'acme/deploy', 'acme', 'acme+deploy'],
    ['ci:deploy', 'deploy', '', 'deploy'],
    ['user:constructor', 'constructor', '', 'constructor'],
  ])('of %s are the name %s, the organization %j and the login %s', (subject, name, organization, login) => {
    expect([nameOf(subject), organizationOf(subject), loginNameOf(subject)]).toEqual([name, organization, login]);
  });

  test('distinguish users and robots by their logins: no two have the same', () => {
    const subjects = fc.oneof(
      names.map((name) => `user:${name}`),
      fc.tuple(names, names).map(([organization, name]) => `robot:${organization}/${name}`),
    );
    fc.assert(fc.property(subjects, subjects, (one, other) => one === other || loginNameOf(one) !== loginNameOf(other)));
  });
});

describe('the namespace of a repository', () => {
  test.each([
    ['acme/api', 'acme'],
    ['acme/deep/er', 'acme'],
    ['acme-x/api', 'acme-x'],
    ['myfirstapp', ''],
    ['__proto__/x', '__proto__'],
  ])('%s is %j', (repository, namespace) => {
    expect(namespaceOf(repository)).toBe(namespace);
  });
});
