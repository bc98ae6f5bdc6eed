import { expect, test } from 'vitest';
import { pushWithoutPull } from '../../src/auth/rights/mistakes.ts';
import type { Statement } from '../../src/auth/statement.ts';
import type { RepositoryAction } from '../../src/vocabulary/actions.ts';

const on = (repositories: string[], ...actions: RepositoryAction[]): Statement => ({ effect: 'allow', actions, repositories });
const to = (principals: string[], ...actions: RepositoryAction[]): Statement => ({ ...on([], ...actions), principals });
const not = (statement: Statement): Statement => ({ ...statement, effect: 'deny' });

test.each<[string, Statement[]]>([
  ['push alone', [on(['acme/api'], 'push')]],
  ['pull elsewhere', [on(['acme/*'], 'push', 'retag'), on(['acme/web'], 'pull')]],
  ['pull in a part', [on(['acme/*'], 'push'), on(['acme/web-*'], 'pull')]],
  ['pull that is denied', [on(['acme/*'], 'push', 'pull'), not(on(['*'], 'pull'))]],
])('statements of an identity with %s are warned of, with where', (_, statements) => {
  for (const whose of ['identity', 'key'] as const) {
    expect(pushWithoutPull(statements, whose)).toEqual([
      expect.stringMatching(/push is allowed without pull in acme\/.*docker/),
    ]);
  }
});

test.each<[string, Statement[]]>([
  ['push and pull', [on(['acme/*'], 'push', 'pull')]],
  ['pull in all there is', [on(['acme/a*', 'acme/b'], 'push'), on(['acme/*'], 'pull')]],
  ['pull alone', [on(['acme/*'], 'pull')]],
  ['push that is denied', [not(on(['acme/*'], 'push'))]],
  ['nothing', []],
])('statements of an identity with %s are not', (_, statements) => {
  expect(pushWithoutPull(statements, 'identity')).toEqual([]);
});

test("a repository's statements cause warnings about whom they name", () => {
  expect(pushWithoutPull([to(['user:alice', 'robot:acme/ci'], 'push')], 'repository')).toEqual([
    expect.stringContaining('to user:alice, robot:acme/ci:'),
  ]);
  expect(pushWithoutPull([to(['user:alice'], 'push'), to(['user:bob'], 'pull')], 'repository')).toHaveLength(1);
  for (const everybody of ['*', 'organization:acme', 'team:acme/dev']) {
    expect(pushWithoutPull([to(['team:acme/dev'], 'push'), to([everybody], 'pull')], 'repository')).toEqual([]);
  }
});

test('many are counted, and a few of them named', () => {
  const statements = Array.from({ length: 50 }, (_, n) =>
    on(
      Array.from({ length: 50 }, (__, m) => `acme/${n}-${m}`),
      'push',
    ),
  );
  const [warning = ''] = pushWithoutPull(statements, 'identity');
  expect(warning.length).toBeLessThan(300);
});
