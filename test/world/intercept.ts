/** Wraps a database so that a test sees every D1 call. The other wrapped bindings in this folder use this. */

/**
 * Called instead of a D1 call. Its result is returned to the caller of D1.
 * @param name the name of the method, for example `DB.batch`
 * @param effect makes the D1 call
 * @param statement the statement, if the call is no batch
 * @param args the arguments of the statement's method
 */
export type Interceptor = (
  name: string,
  effect: () => Promise<unknown>,
  statement?: D1PreparedStatement,
  args?: unknown[],
) => Promise<unknown>;

const INNER = Symbol('the statement itself');

export function intercepted<D extends D1Database | D1DatabaseSession>(database: D, intercept: Interceptor): D {
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
      if (name === 'batch') return batch;
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const result: unknown = value.apply(target, args);
        return name === 'withSession' ? intercepted(result as D1DatabaseSession, intercept) : result;
      };
    },
  });
}
