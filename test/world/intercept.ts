/** A database whose every round trip passes through the test: shared by the wrapped bindings of this folder. */

/**
 * Sees one round trip: its name, a function that executes it, and for a single statement (not a batch) the statement and the
 * arguments of its method. The caller gets what it returns.
 */
export type Interceptor = (
  name: string,
  effect: () => Promise<unknown>,
  statement?: D1PreparedStatement,
  args?: unknown[],
) => Promise<unknown>;

const INNER = Symbol('the statement itself');

export function intercepted(database: D1Database, intercept: Interceptor): D1Database {
  const wrap = (statement: D1PreparedStatement): D1PreparedStatement =>
    new Proxy(statement, {
      get(target, name) {
        if (name === INNER) return target;
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
        if (name === 'bind') return (...args: unknown[]) => wrap(method.apply(target, args) as D1PreparedStatement);
        return (...args: unknown[]) =>
          intercept(`DB.${String(name)}`, () => method.apply(target, args) as Promise<unknown>, target, args);
      },
    });
  const batch = (statements: D1PreparedStatement[]) => {
    const inner = statements.map((statement) => Reflect.get(statement, INNER) as D1PreparedStatement);
    return intercept('DB.batch', () => database.batch(inner));
  };
  return new Proxy(database, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => wrap(target.prepare(sql));
      return name === 'batch' ? batch : Reflect.get(target, name);
    },
  });
}
