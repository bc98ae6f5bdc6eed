/**
 * A simulated read replica of D1: a second real database, which gets the changes of the primary only with `catchUp`. Like D1,
 * it serves sessions that start as `first-unconstrained`, and returns its bookmark.
 */
import { env } from 'cloudflare:workers';
import { intercepted } from './intercept.ts';
import { copyDatabase, type World, worldOf } from './world.ts';

type Served = 'primary' | 'replica';

interface Isolate extends World {
  /** Which database served each D1 call of this isolate, in order. */
  served: Served[];
}

export interface Replica {
  /** Makes the replica equal to the primary. */
  catchUp(): Promise<void>;
  /** Makes each query of the replica fail, as if a migration had not reached it yet. */
  lackTables(): void;
  /** Returns a Worker that uses the same stores but has a memory of its own. */
  isolate(): Isolate;
}

/** Returns a replica that has no data yet. */
export function newReplica(world: World): Replica {
  const { REPLICA } = env as unknown as { REPLICA: D1Database };
  const primary = world.env.DB;
  let bookmark = '';
  let lacking = false;

  const known = (sql: string) => (lacking ? sql.replace(/\brepositories\b/, 'a_new_table') : sql);
  const session = (served: Served[]): D1DatabaseSession =>
    intercepted(
      { prepare: (sql: string) => REPLICA.prepare(known(sql)), getBookmark: () => bookmark } as D1DatabaseSession,
      async (_, effect) => {
        served.push('replica');
        const result = (await effect()) as D1Result;
        return { ...result, meta: { ...result.meta, served_by_primary: false } };
      },
    );

  const database = (served: Served[]): D1Database => {
    const counted = intercepted(primary, async (_, effect) => {
      served.push('primary');
      return effect();
    });
    return new Proxy(counted, {
      get(target, name) {
        if (name !== 'withSession') return Reflect.get(target, name);
        return (constraint: string) =>
          constraint === 'first-unconstrained' ? session(served) : target.withSession(constraint);
      },
    });
  };

  return {
    async catchUp() {
      await copyDatabase(primary, REPLICA);
      const latest = primary.withSession('first-primary');
      await latest.prepare('SELECT 1').first();
      bookmark = latest.getBookmark() ?? '';
    },
    lackTables() {
      lacking = true;
    },
    isolate() {
      const served: Served[] = [];
      return { ...worldOf({ ...world.env, DB: database(served) }), served };
    },
  };
}
