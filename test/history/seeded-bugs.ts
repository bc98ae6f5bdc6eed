/** Bindings with a seeded bug, each of a kind that real registries have had. They test the checker. */
import type { Env } from '../../src/env.ts';

export type SeedBug = (env: Env) => Env;

type Statement = D1PreparedStatement;

/** Rewrites every statement before it reaches the database. */
function rewriting(env: Env, rewrite: (sql: string) => string): Env {
  const DB = new Proxy(env.DB, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => target.prepare(rewrite(sql));
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { ...env, DB };
}

/** Preconditions are evaluated but never abort the batch. */
export const withoutPreconditions: SeedBug = (env) =>
  rewriting(env, (sql) => sql.replace('INSERT INTO refusals (reason) SELECT', 'SELECT'));

/** One put in four is acknowledged although its tag is not written. */
export const forgettingTags: SeedBug = (env) => {
  let puts = 0;
  return rewriting(env, (sql) => {
    const isPut = sql.startsWith('INSERT INTO tags') && puts++ % 4 === 3;
    return isPut ? sql.replace(/(json_each\(\?\d+\)) WHERE TRUE/, '$1 WHERE FALSE') : sql;
  });
};

/** Deleting a manifest keeps the tags that name it, and deleting a tag keeps the tag. */
export const keepingTags: SeedBug = (env) =>
  rewriting(env, (sql) => (sql.startsWith('DELETE FROM tags') ? sql.replace('RETURNING', 'AND FALSE RETURNING') : sql));

/** A cache in front of tag reads. Each entry is served a few times before it is read again. */
export const withStaleTags: SeedBug = (env) => {
  const cached = new Map<string, { row: unknown; left: number }>();
  const reading = (statement: Statement, key: string): Statement =>
    new Proxy(statement, {
      get(target, name) {
        if (name === 'bind') return (...values: unknown[]) => reading(target.bind(...values), `${key} ${values.join(' ')}`);
        if (name !== 'first') return Reflect.get(target, name);
        return async () => {
          const known = cached.get(key);
          if (known && known.left-- > 0) return known.row;
          const row = await target.first();
          cached.set(key, { row, left: 3 });
          return row;
        };
      },
    });
  const DB = new Proxy(env.DB, {
    get(target, name) {
      if (name === 'batch') return (statements: Statement[]) => target.batch(statements);
      if (name !== 'prepare') return Reflect.get(target, name);
      const isRead = (sql: string) => sql.startsWith('SELECT m.digest') && sql.includes('JOIN tags t ON');
      return (sql: string) => (isRead(sql) ? reading(target.prepare(sql), sql) : target.prepare(sql));
    },
  });
  return { ...env, DB };
};
