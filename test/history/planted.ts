/** Bindings with a bug in them, each of a kind that registries have had: for the judge's own trial. */
import type { Env } from '../../src/env.ts';

export type Plant = (env: Env) => Env;

type Statement = D1PreparedStatement;

/** A database whose statements are others than those that were asked for. */
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

/** Preconditions that are only asked: a batch goes on where one does not hold. */
export const withoutPreconditions: Plant = (env) =>
  rewriting(env, (sql) => sql.replace('INSERT INTO refusals (reason) SELECT', 'SELECT'));

/** One put in four is acknowledged, and its tag not written. */
export const forgettingTags: Plant = (env) => {
  let puts = 0;
  return rewriting(env, (sql) => {
    const isPut = sql.startsWith('INSERT INTO tags') && puts++ % 4 === 3;
    return isPut ? sql.replace(/(json_each\(\?\d+\)) WHERE TRUE/, '$1 WHERE FALSE') : sql;
  });
};

/** A manifest goes, and the tags that name it stay. */
export const keepingTags: Plant = (env) =>
  rewriting(env, (sql) => (sql.startsWith('DELETE FROM tags') ? sql.replace('RETURNING', 'AND FALSE RETURNING') : sql));

/** A cache in front of the reads of tags, of which each entry is served a few times before it is asked for again. */
export const withStaleTags: Plant = (env) => {
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
