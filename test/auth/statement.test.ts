import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { anonymous, onRepository, rolesOf } from '../../src/auth/authority.ts';
import { NOTHING_LOADED } from '../../src/auth/loaded-rights.ts';
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

/** The ways to write each part of a statement, and whether it matches a request of Alice about acme/api. */
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
/** The actions to which a statement narrowed to tags applies if the request names no tag. */
const WITHOUT_A_TAG: Record<Statement['effect'], RepositoryAction[]> = { allow: ['push'], deny: ['delete'] };
const LISTS: RepositoryAction[][] = [
  ...ACTIONS.map((action) => [action]),
  ...Object.values(PRESETS).map((all) => [...all]),
  [],
];

describe('a statement', () => {
  const rows = (['allow', 'deny'] as const).flatMap((effect) => ACTIONS.map((action) => [effect, action] as const));

  test.each(rows)(
    'that says %s applies for %s exactly if its actions, repositories, principals and tags all match',
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

  test('a statement that denies an action is the reason even if no statement allows the action', () => {
    const deny = hang('team:acme/dev', { effect: 'deny' });
    expect(evaluate([deny], ask('pull'))).toMatchObject({ allowed: false, decidedBy: deny });
  });
});

describe('a request without a tag', () => {
  const some = { tags: ['v*'] };

  test('may push if the caller may push some tag, since a tag needs content', () => {
    expect(evaluate([hang('a', some)], ask('push')).allowed).toBe(true);
    expect(evaluate([hang('a', some), hang('b', { ...some, effect: 'deny' })], ask('push')).allowed).toBe(true);
    expect(evaluate([hang('a', some), hang('b', { effect: 'deny' })], ask('push')).allowed).toBe(false);
  });

  test('may not delete if the caller may delete some tags only', () => {
    expect(evaluate([hang('a', some)], ask('delete', 'v1')).allowed).toBe(true);
    expect(evaluate([hang('a', some)], ask('delete')).allowed).toBe(false);
    expect(evaluate([hang('a', { tags: ['*'] })], ask('delete')).allowed).toBe(false);
  });

  test('may not delete if some tag must not be deleted, since a deletion by digest deletes all of them', () => {
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

  test('cannot lose the right to administer, since nobody could undo that', () => {
    expect(evaluate([deny, ...roles], ask('admin'))).toMatchObject({ allowed: true, decidedBy: { standing: true } });
    expect(mightAllow([deny, ...roles], ask('admin'))).toBe(true);
  });

  test('is not the same as a statement: rights to administer by a statement can be denied', () => {
    expect(evaluate([EVERYTHING, deny], ask('admin')).allowed).toBe(false);
    expect(mightAllow([EVERYTHING, deny], ask('admin'))).toBe(false);
  });

  test('applies to its own names only, and does not prevent denials', () => {
    const owner = rolesOf('user:alice', false, ['acme']);
    for (const repository of ['acme', 'acme2/api', 'acmex/api', 'acme-x/api', 'other/acme/api']) {
      expect(evaluate(owner, ask('admin', null, repository)).allowed).toBe(false);
      expect(evaluate([...owner, EVERYTHING, deny], ask('admin', null, repository)).allowed).toBe(false);
    }
    expect(evaluate(owner, ask('admin', null, 'acme/deep/er')).allowed).toBe(true);
    expect(evaluate(owner, ask('admin', null, 'alice/own')).allowed).toBe(true);
  });

  test('over the namespace of its own name is for users: a robot has none', () => {
    expect(rolesOf('robot:acme/ci', false, [])).toEqual([]);
  });
});

describe("a repository's own statement", () => {
  const own = (statement: Partial<Statement>) => onRepository('acme/api', [hang('', statement).statement]);

  test.each(PRINCIPALS)('for %j matches only the principals it names', (principals, hers) => {
    const statements = own(principals ? { principals } : {});
    expect(evaluate(statements, ask('pull')).allowed).toBe(principals !== undefined && hers);
  });

  test('is about that repository, whatever it says', () => {
    const statements = own({ principals: ['*'], repositories: ['*'] });
    expect(evaluate(statements, ask('pull')).allowed).toBe(true);
    expect(evaluate(statements, ask('pull', null, 'acme/web')).allowed).toBe(false);
  });

  test('for everyone includes anonymous callers', () => {
    expect(evaluate(own({ principals: ['*'] }), ask('pull', null, 'acme/api', ['*'])).allowed).toBe(true);
    expect(evaluate(own({ principals: ['user:alice'] }), ask('pull', null, 'acme/api', ['*'])).allowed).toBe(false);
  });
});

describe('names of Object.prototype', () => {
  const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', 'length', '0'];

  test.each(NAMES)('%s is an ordinary name of a repository, a principal and a tag', (name) => {
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

/** Small sets of values, so that random statements often match the same request. */
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

describe('for any statements', () => {
  test('an allowing one is needed, and a denying one wins', () => {
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

  test('another denying one never turns a no into a yes', () => {
    fc.assert(
      fc.property(all, hanging, questions, (list, { from, statement }, question) => {
        const more: Sourced[] = [...list, { from, statement: { ...statement, effect: 'deny' } }];
        expect(evaluate(list, question).allowed || !evaluate(more, question).allowed).toBe(true);
        expect(mightAllow(list, question) || !mightAllow(more, question)).toBe(true);
      }),
      RUNS,
    );
  });

  test('another allowing one never turns a yes into a no', () => {
    fc.assert(
      fc.property(all, hanging, questions, (list, one, question) => {
        const more: Sourced[] = [...list, { ...one, statement: { ...one.statement, effect: 'allow' } }];
        expect(!evaluate(list, question).allowed || evaluate(more, question).allowed).toBe(true);
        expect(!mightAllow(list, question) || mightAllow(more, question)).toBe(true);
      }),
      RUNS,
    );
  });

  test('their order does not matter for the answer', () => {
    fc.assert(
      fc.property(all.chain(shuffled), questions, ([list, again], question) => {
        expect(evaluate(again, question).allowed).toBe(evaluate(list, question).allowed);
        expect(mightAllow(again, question)).toBe(mightAllow(list, question));
      }),
      RUNS,
    );
  });

  // If two statements of one policy decide, the answer may name either of them.
  test('their order does not matter for whose policy the deciding one is in', () => {
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

  test('the deciding one matches, and has the effect that was answered', () => {
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

describe('the set of possible actions', () => {
  test('contains all that is allowed, with any tag and without', () => {
    fc.assert(
      fc.property(all, questions, (list, question) => {
        expect(mightAllow(list, question) || !evaluate(list, question).allowed).toBe(true);
      }),
      RUNS,
    );
  });

  test('is what is allowed for some tag or none, ignoring denials narrowed to tags', () => {
    fc.assert(
      fc.property(all, questions, (list, question) => {
        const bare = list.filter(({ statement }) => statement.effect === 'allow' || !statement.tags);
        const some = [null, ...ASKED_TAGS].some((tag) => evaluate(bare, { ...question, tag }).allowed);
        expect(mightAllow(list, question)).toBe(some);
      }),
      RUNS,
    );
  });

  // So a token may contain an action that is denied for every tag. That does no harm: each request is evaluated again, with its
  // tag.
  test('does not subtract denied tags from allowed ones', () => {
    const statements = [hang('a', { tags: ['v1'] }), hang('b', { effect: 'deny', tags: ['v*'] })];
    expect(mightAllow(statements, ask('retag'))).toBe(true);
    for (const tag of [null, 'v1', 'v2', 'latest']) expect(evaluate(statements, ask('retag', tag)).allowed).toBe(false);
  });
});

describe('the cost of an evaluation', () => {
  /** As many patterns as fit in a policy, none of which matches. */
  const heavy = Array.from({ length: 50 }, (_, n) =>
    hang(`team:${n}`, {
      actions: ['push', 'retag'],
      repositories: Array.from({ length: 50 }, (__, m) => `*${n}*${m}*`).concat('*'),
      tags: Array.from({ length: 50 }, (__, m) => `*${n}*${m}*x`),
    }),
  );
  const asker = (statements: Sourced[]) => ({
    ...anonymous(NOTHING_LOADED),
    subject: 'user:alice',
    principals: ALICE,
    statements,
  });
  const tags = Array.from({ length: 100 }, (_, n) => `tag-${n}`);

  test('includes compiling each pattern once for each loaded policy', () => {
    const list = heavy.map(({ from, statement }) => hang(from, { ...statement, tags: [...(statement.tags ?? [])] }));
    const ask100 = () => tags.map((tag) => evaluate(list, ask('push', tag)));
    ask100();
    const split = vi.spyOn(String.prototype, 'split');
    ask100();
    const calls = split.mock.calls.length;
    // The spy is removed before the comparison, because the report of a failure also calls `split`.
    split.mockRestore();
    expect(calls).toBe(0);
  });

  test('includes comparing the parts that do not depend on the tag once for all tags', () => {
    fc.assert(
      fc.property(all, questions, (list, { tag: _, ...question }) => {
        const { about } = decisions(list, question);
        for (const tag of [null, ...ASKED_TAGS]) expect(about(tag)).toEqual(evaluate(list, { ...question, tag }));
      }),
    );
  });

  test('is bounded for many tags, and one tag is always evaluated', () => {
    const many = () => tagsDenied(asker(heavy), ['push', 'retag'], 'acme/api', tags);
    expect(many).toThrow(`one request may make ${COMPARISONS_MAX}`);
    const [, fitting] = /name up to (\d+) tags/.exec(messageOf(many)) ?? [];
    const some = tags.slice(0, Number(fitting));
    expect(tagsDenied(asker(heavy), ['push', 'retag'], 'acme/api', some)).toEqual({ push: some, retag: some });
    const heavier = Array.from({ length: 20 }, () => heavy).flat();
    expect(tagsDenied(asker(heavier), ['push', 'retag'], 'acme/api', ['v1'])).toEqual({ push: ['v1'], retag: ['v1'] });
  });

  test('is bounded for the limits of a credential as well', () => {
    const authority = { ...asker([EVERYTHING]), bounds: [heavy] };
    expect(() => tagsDenied(authority, ['push'], 'acme/api', tags)).toThrow('comparisons');
  });

  test('allows a hundred tags with usual policies', () => {
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
