import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { anonymous, onRepository, rolesOf } from '../../src/auth/authority.ts';
import { NOTHING } from '../../src/auth/directory.ts';
import { COMPARISONS_MAX, tagsDenied } from '../../src/auth/policy.ts';
import { decisions, evaluate, mightAllow, type Question, type Sourced, type Statement } from '../../src/auth/statement.ts';
import { ACTIONS, PRESETS, type RepositoryAction } from '../../src/vocabulary/actions.ts';

const ALICE = ['user:alice', 'organization:acme', 'team:acme/dev', '*'];
const EVERYTHING: Sourced = { from: 'everything', statement: { effect: 'allow', actions: ACTIONS, repositories: ['*'] } };

function ask(action: RepositoryAction, tag: string | null = null, repository = 'acme/api', principals = ALICE): Question {
  return { action, repository, tag, principals };
}

function hang(from: string, statement: Partial<Statement>): Sourced {
  return { from, statement: { effect: 'allow', actions: ACTIONS, repositories: ['*'], ...statement } };
}

/** Each way to write a part of a statement, and whether it is about Alice, who asks about acme/api. */
const REPOSITORIES: [string[], boolean][] = [
  [['acme/api'], true],
  [['acme/*'], true],
  [['*'], true],
  [['*/api'], true],
  [['other/*', 'acme/a*'], true],
  [['acme'], false],
  [['acme/'], false],
  [['acme/ap'], false],
  [['acme/apis'], false],
  [['acme/api/*'], false],
  [['acme2/*'], false],
  [['ACME/api'], false],
  [['acme?api'], false],
  [[], false],
];
const PRINCIPALS: [string[] | undefined, boolean][] = [
  [undefined, true],
  [['user:alice'], true],
  [['team:acme/dev'], true],
  [['organization:acme'], true],
  [['*'], true],
  [['user:bob', 'user:alice'], true],
  [['user:bob'], false],
  [['user:alic'], false],
  [['user:alice2'], false],
  [['user:*'], false],
  [['robot:alice'], false],
  [[], false],
];
const TAGS: [string[] | undefined, string | null, boolean | 'where none is named'][] = [
  [undefined, null, true],
  [undefined, 'v1', true],
  [['v1'], 'v1', true],
  [['v*'], 'v1', true],
  [['latest', 'v*'], 'v1', true],
  [['*'], 'v1', true],
  [['v1'], 'V1', false],
  [['v1'], 'v12', false],
  [['v*'], 'latest', false],
  [['v'], 'v1', false],
  [['v1'], null, 'where none is named'],
  [['*'], null, 'where none is named'],
];
/** The actions that a statement narrowed to some tags is about, where the request names no tag. */
const WITHOUT_A_TAG: Record<Statement['effect'], RepositoryAction[]> = { allow: ['push'], deny: ['delete'] };
const LISTS: RepositoryAction[][] = [
  ...ACTIONS.map((action) => [action]),
  ...Object.values(PRESETS).map((all) => [...all]),
  [],
];

describe('a statement', () => {
  const rows = (['allow', 'deny'] as const).flatMap((effect) => ACTIONS.map((action) => [effect, action] as const));

  test.each(rows)(
    'that says %s counts for %s exactly where its actions, repositories, principals and tags all do',
    (effect, action) => {
      const wrong: unknown[] = [];
      for (const actions of LISTS) {
        for (const [repositories, here] of REPOSITORIES) {
          for (const [principals, hers] of PRINCIPALS) {
            for (const [tags, tag, about] of TAGS) {
              const statement = { effect, actions, repositories, ...(principals && { principals }), ...(tags && { tags }) };
              const means = about === 'where none is named' ? WITHOUT_A_TAG[effect].includes(action) : about;
              const counts = actions.includes(action) && here && hers && means;
              const one = { from: 'one', statement };
              const alone = evaluate([one], ask(action, tag));
              const besides = evaluate([EVERYTHING, one], ask(action, tag));
              const right =
                alone.allowed === (counts && effect === 'allow') &&
                besides.allowed === !(counts && effect === 'deny') &&
                alone.decidedBy === (counts ? one : null) &&
                besides.matched.includes(one) === counts;
              if (!right) wrong.push({ statement, tag });
            }
          }
        }
      }
      expect(wrong).toEqual([]);
    },
  );
});

describe('by default', () => {
  test.each(ACTIONS)('nobody may %s, and no statement is named as the reason', (action) => {
    expect(evaluate([], ask(action))).toEqual({ allowed: false, decidedBy: null, matched: [] });
    expect(mightAllow([], ask(action))).toBe(false);
  });

  test('a statement that denies what nobody allowed is named as the reason', () => {
    const deny = hang('team:acme/dev', { effect: 'deny' });
    expect(evaluate([deny], ask('pull'))).toMatchObject({ allowed: false, decidedBy: deny });
  });
});

describe('a request that names no tag', () => {
  const some = { tags: ['v*'] };

  test('may push for whoever may push some tag, as a tag needs content', () => {
    expect(evaluate([hang('a', some)], ask('push')).allowed).toBe(true);
    expect(evaluate([hang('a', some), hang('b', { ...some, effect: 'deny' })], ask('push')).allowed).toBe(true);
    expect(evaluate([hang('a', some), hang('b', { effect: 'deny' })], ask('push')).allowed).toBe(false);
  });

  test('may not delete for whoever may delete some tags only', () => {
    expect(evaluate([hang('a', some)], ask('delete', 'v1')).allowed).toBe(true);
    expect(evaluate([hang('a', some)], ask('delete')).allowed).toBe(false);
    expect(evaluate([hang('a', { tags: ['*'] })], ask('delete')).allowed).toBe(false);
  });

  test('may not delete while some tag must not be deleted, as a deletion by digest takes all of them', () => {
    const statements = [EVERYTHING, hang('b', { ...some, effect: 'deny' })];
    expect(evaluate(statements, ask('delete', 'latest')).allowed).toBe(true);
    expect(evaluate(statements, ask('delete')).allowed).toBe(false);
  });
});

describe('a role', () => {
  const roles = rolesOf('user:alice', true, ['acme']);
  const deny = hang('user:alice', { effect: 'deny' });

  test.each(ACTIONS.filter((action) => action !== 'admin'))('can be denied to %s', (action) => {
    expect(evaluate(roles, ask(action)).allowed).toBe(true);
    expect(evaluate([...roles, deny], ask(action))).toMatchObject({ allowed: false, decidedBy: deny });
    expect(mightAllow([...roles, deny], ask(action))).toBe(false);
  });

  test('cannot be denied to administer: nobody could take the denial back', () => {
    expect(evaluate([deny, ...roles], ask('admin'))).toMatchObject({ allowed: true, decidedBy: { standing: true } });
    expect(mightAllow([deny, ...roles], ask('admin'))).toBe(true);
  });

  test('is not what a statement gives: who administers by one can be denied it', () => {
    expect(evaluate([EVERYTHING, deny], ask('admin')).allowed).toBe(false);
    expect(mightAllow([EVERYTHING, deny], ask('admin'))).toBe(false);
  });

  test('reaches as far as its own names, and does not save others from a denial', () => {
    const owner = rolesOf('user:alice', false, ['acme']);
    for (const repository of ['acme', 'acme2/api', 'acmex/api', 'acme-x/api', 'other/acme/api']) {
      expect(evaluate(owner, ask('admin', null, repository)).allowed).toBe(false);
      expect(evaluate([...owner, EVERYTHING, deny], ask('admin', null, repository)).allowed).toBe(false);
    }
    expect(evaluate(owner, ask('admin', null, 'acme/deep/er')).allowed).toBe(true);
    expect(evaluate(owner, ask('admin', null, 'alice/own')).allowed).toBe(true);
  });

  test('over the namespace of its own name is for a user alone: a robot has none', () => {
    expect(rolesOf('robot:acme/ci', false, [])).toEqual([]);
  });
});

describe("a repository's own statement", () => {
  const own = (statement: Partial<Statement>) => onRepository('acme/api', [hang('', statement).statement]);

  test.each(PRINCIPALS)('for %j matches whom it names alone', (principals, hers) => {
    const statements = own(principals ? { principals } : {});
    expect(evaluate(statements, ask('pull')).allowed).toBe(principals !== undefined && hers);
  });

  test('is about that repository, whatever it says', () => {
    const statements = own({ principals: ['*'], repositories: ['*'] });
    expect(evaluate(statements, ask('pull')).allowed).toBe(true);
    expect(evaluate(statements, ask('pull', null, 'acme/web')).allowed).toBe(false);
  });

  test('that names everyone is about strangers too', () => {
    expect(evaluate(own({ principals: ['*'] }), ask('pull', null, 'acme/api', ['*'])).allowed).toBe(true);
    expect(evaluate(own({ principals: ['user:alice'] }), ask('pull', null, 'acme/api', ['*'])).allowed).toBe(false);
  });
});

describe('names of the prototype', () => {
  const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', 'length', '0'];

  test.each(NAMES)('%s is a name like any other, of a repository, a tag and a principal', (name) => {
    const question = ask('push', name, name, [name]);
    const none = hang('none', { repositories: ['other'], principals: ['other'], tags: ['other'] });
    expect(evaluate([none], question)).toEqual({ allowed: false, decidedBy: null, matched: [] });
    const named = { repositories: [name], principals: [name], tags: [name] };
    expect(evaluate([hang(name, named)], question)).toMatchObject({ allowed: true, decidedBy: { from: name } });
    expect(evaluate([hang(name, { ...named, effect: 'deny' }), EVERYTHING], question).allowed).toBe(false);
    for (const part of [{ repositories: ['other'] }, { principals: ['other'] }, { tags: ['other'] }]) {
      expect(evaluate([hang(name, { ...named, ...part })], question).allowed).toBe(false);
    }
    for (const part of [{ repositories: [name] }, { principals: [name] }, { tags: [name] }]) {
      expect(evaluate([hang(name, part)], ask('push', 'v1')).allowed).toBe(false);
    }
  });
});

/** Alphabets so small that statements meet each other and the question often. */
const ASKED_TAGS = ['1', '2', 'v1', 'constructor'];
const someOf = <T>(...values: T[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const statements = fc.record(
  {
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    actions: someOf<RepositoryAction>('push', 'delete', 'admin'),
    repositories: someOf('a/b', 'a/c', 'ab/c', 'a/*', '*', '*c', '__proto__'),
    principals: someOf('user:a', 'team:a/b', 'user:b', '*'),
    tags: someOf('1', '2', 'v*', '*', 'constructor'),
  },
  { requiredKeys: ['effect', 'actions', 'repositories'] },
);
const hanging = fc
  .record({ from: fc.constantFrom('p', 'q', 'r', 's', 't'), statement: statements, role: fc.nat({ max: 2 }) })
  .map(({ from, statement, role }): Sourced => {
    return role === 0 && statement.effect === 'allow' ? { from, statement, standing: true } : { from, statement };
  });
const all = fc.array(hanging, { maxLength: 6 });
const questions = fc.record({
  action: fc.constantFrom<RepositoryAction>('push', 'delete', 'admin'),
  repository: fc.constantFrom('a/b', 'a/c', 'ab/c', '__proto__'),
  tag: fc.constantFrom(null, ...ASKED_TAGS),
  principals: fc.constantFrom(['*'], ['user:a', '*'], ['user:a', 'team:a/b', '*']),
});
const RUNS = { numRuns: 5000 };

function shuffled<T>(list: T[]) {
  return fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }));
}

function counts(one: Sourced, question: Question): boolean {
  return evaluate([one], question).matched.length === 1;
}

describe('of all statements', () => {
  test('those that allow decide, and one that denies wins over all of them', () => {
    fc.assert(
      fc.property(all, questions, (list, question) => {
        const matched = list.filter((one) => counts(one, question));
        const denied = matched.some(({ statement }) => statement.effect === 'deny');
        const allowing = matched.filter(({ statement }) => statement.effect === 'allow');
        const saved = question.action === 'admin' && allowing.some(({ standing }) => standing);
        const decision = evaluate(list, question);
        expect(decision.matched).toEqual(matched);
        expect(decision.allowed).toBe(allowing.length > 0 && (!denied || saved));
      }),
      RUNS,
    );
  });

  test('one more that denies never turns a no into a yes', () => {
    fc.assert(
      fc.property(all, hanging, questions, (list, { from, statement }, question) => {
        const more: Sourced[] = [...list, { from, statement: { ...statement, effect: 'deny' } }];
        expect(evaluate(list, question).allowed || !evaluate(more, question).allowed).toBe(true);
        expect(mightAllow(list, question) || !mightAllow(more, question)).toBe(true);
      }),
      RUNS,
    );
  });

  test('one more that allows never turns a yes into a no, so that one less never turns a no into a yes', () => {
    fc.assert(
      fc.property(all, hanging, questions, (list, one, question) => {
        const more: Sourced[] = [...list, { ...one, statement: { ...one.statement, effect: 'allow' } }];
        expect(!evaluate(list, question).allowed || evaluate(more, question).allowed).toBe(true);
        expect(!mightAllow(list, question) || mightAllow(more, question)).toBe(true);
      }),
      RUNS,
    );
  });

  test('the order does not matter for the answer', () => {
    fc.assert(
      fc.property(all.chain(shuffled), questions, ([list, again], question) => {
        expect(evaluate(again, question).allowed).toBe(evaluate(list, question).allowed);
        expect(mightAllow(again, question)).toBe(mightAllow(list, question));
      }),
      RUNS,
    );
  });

  // Of several at one place either may be named: they stand in one document, whose order is its own.
  test('the order does not matter for where the one that decided hangs', () => {
    fc.assert(
      fc.property(all.chain(shuffled), questions, ([list, again], question) => {
        const by = (order: Sourced[]) => evaluate(order, question).decidedBy;
        const [one, other] = [by(list), by(again)];
        expect([other?.from, other?.statement.effect]).toEqual([one?.from, one?.statement.effect]);
      }),
      RUNS,
    );
  });

  test('the order of roles does not matter for which of them is named', () => {
    const roles = rolesOf('user:acme', true, ['acme']);
    for (const action of ACTIONS) {
      expect(evaluate(roles.toReversed(), ask(action)).decidedBy).toEqual(evaluate(roles, ask(action)).decidedBy);
    }
  });

  test('the one that decided matched, and says what was answered', () => {
    fc.assert(
      fc.property(all, questions, (list, question) => {
        const { allowed, decidedBy, matched } = evaluate(list, question);
        if (matched.length === 0) expect(decidedBy).toBeNull();
        else expect(matched).toContain(decidedBy);
        expect(allowed).toBe(decidedBy?.statement.effect === 'allow');
      }),
      RUNS,
    );
  });
});

describe('what might be allowed', () => {
  test('holds all that is allowed, with any tag and with none', () => {
    fc.assert(
      fc.property(all, questions, (list, question) => {
        expect(mightAllow(list, question) || !evaluate(list, question).allowed).toBe(true);
      }),
      RUNS,
    );
  });

  test('is what some tag, or none, is allowed for, were it not for denials that are narrowed to tags', () => {
    fc.assert(
      fc.property(all, questions, (list, question) => {
        const bare = list.filter(({ statement }) => statement.effect === 'allow' || !statement.tags);
        const some = [null, ...ASKED_TAGS].some((tag) => evaluate(bare, { ...question, tag }).allowed);
        expect(mightAllow(list, question)).toBe(some);
      }),
      RUNS,
    );
  });

  // So a token may carry an action that no tag is allowed for. That is no more than a token asked for in vain: each request
  // is judged again, with its tag.
  test('does not set tags that are allowed off against tags that are denied', () => {
    const statements = [hang('a', { tags: ['v1'] }), hang('b', { effect: 'deny', tags: ['v*'] })];
    expect(mightAllow(statements, ask('retag'))).toBe(true);
    for (const tag of [null, 'v1', 'v2', 'latest']) expect(evaluate(statements, ask('retag', tag)).allowed).toBe(false);
  });
});

describe('the work of an evaluation', () => {
  /** As many patterns as fit a policy, none of which matches. */
  const heavy = Array.from({ length: 50 }, (_, n) =>
    hang(`team:${n}`, {
      actions: ['push', 'retag'],
      repositories: Array.from({ length: 50 }, (__, m) => `*${n}*${m}*`).concat('*'),
      tags: Array.from({ length: 50 }, (__, m) => `*${n}*${m}*x`),
    }),
  );
  const asker = (statements: Sourced[]) => ({ ...anonymous(NOTHING), subject: 'user:alice', principals: ALICE, statements });
  const tags = Array.from({ length: 100 }, (_, n) => `tag-${n}`);

  test('compiles each pattern once for each policy that was loaded', () => {
    const list = heavy.map(({ from, statement }) => hang(from, { ...statement, tags: [...(statement.tags ?? [])] }));
    const ask100 = () => tags.map((tag) => evaluate(list, ask('push', tag)));
    ask100();
    const split = vi.spyOn(String.prototype, 'split');
    ask100();
    const calls = split.mock.calls.length;
    // Before the comparison: what reports a failure uses it too.
    split.mockRestore();
    expect(calls).toBe(0);
  });

  test('compares what does not depend on the tag once for all tags', () => {
    fc.assert(
      fc.property(all, questions, (list, { tag: _, ...question }) => {
        const { about } = decisions(list, question);
        for (const tag of [null, ...ASKED_TAGS]) expect(about(tag)).toEqual(evaluate(list, { ...question, tag }));
      }),
    );
  });

  test('for many tags is bounded, and one tag is always judged', () => {
    const many = () => tagsDenied(asker(heavy), ['push', 'retag'], 'acme/api', tags);
    expect(many).toThrow(`one request may make ${COMPARISONS_MAX}`);
    const [, fitting] = /name up to (\d+) tags/.exec(messageOf(many)) ?? [];
    const some = tags.slice(0, Number(fitting));
    expect(tagsDenied(asker(heavy), ['push', 'retag'], 'acme/api', some)).toEqual({ push: some, retag: some });
    const heavier = Array.from({ length: 20 }, () => heavy).flat();
    expect(tagsDenied(asker(heavier), ['push', 'retag'], 'acme/api', ['v1'])).toEqual({ push: ['v1'], retag: ['v1'] });
  });

  test('for many tags is bounded for the limits of a credential as well', () => {
    const authority = { ...asker([EVERYTHING]), bounds: [heavy] };
    expect(() => tagsDenied(authority, ['push'], 'acme/api', tags)).toThrow('comparisons');
  });

  test('for a hundred tags against usual policies fits', () => {
    const usual = Array.from({ length: 50 }, (_, n) =>
      hang(`team:${n}`, { actions: ['push'], tags: Array.from({ length: 50 }, (__, m) => `v${n}.${m}.*`) }),
    );
    expect(tagsDenied(asker(usual), ['push', 'retag'], 'acme/api', tags)).toEqual({ push: tags, retag: tags });
  });

  function messageOf(call: () => unknown): string {
    try {
      call();
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  }
});
