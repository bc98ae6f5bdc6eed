/** One request in the middle of another: every order in which two requests can reach the database, one after the other. */
import type { Env } from '../../src/env.ts';
import { type World, worldOf } from './world.ts';

export type Request = (world: World) => Promise<Response>;

/**
 * Runs `outer` again and again: once for each of its calls to the database, each time with `inner` from start to end just
 * before that call, and a last time after them all. `check` judges each run by the answers; `prepare` comes before it.
 */
export async function everyOrder(
  world: World,
  prepare: (
    run: number,
  ) => Promise<{ outer: Request; inner: Request; check: (outer: Response, inner: Response) => Promise<void> }>,
): Promise<number> {
  for (let at = 0; ; at++) {
    const { outer, inner, check } = await prepare(at);
    let calls = 0;
    let answer: Response | undefined;
    const before = async () => {
      if (calls++ === at) answer = await inner(world);
    };
    const response = await outer(worldOf({ ...world.env, DB: announcing(world.env.DB, before) }));
    const past = answer === undefined;
    await check(response, answer ?? (await inner(world)));
    if (past) return at;
  }
}

const INNER = Symbol('the statement itself');

/** Waits for `before` ahead of every call. */
function announcing(database: Env['DB'], before: () => Promise<void>): Env['DB'] {
  const wrap = (statement: D1PreparedStatement): D1PreparedStatement =>
    new Proxy(statement, {
      get(target, name) {
        if (name === INNER) return target;
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
        if (name === 'bind') return (...args: unknown[]) => wrap(method.apply(target, args) as D1PreparedStatement);
        return async (...args: unknown[]) => {
          await before();
          return method.apply(target, args);
        };
      },
    });
  const batch = async (statements: D1PreparedStatement[]) => {
    await before();
    return database.batch(statements.map((statement) => Reflect.get(statement, INNER) as D1PreparedStatement));
  };
  return new Proxy(database, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => wrap(target.prepare(sql));
      return name === 'batch' ? batch : Reflect.get(target, name);
    },
  });
}
