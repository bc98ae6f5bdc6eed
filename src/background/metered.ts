/** Bindings that count what is done through them: rows of the database as it says itself, and messages sent to queues. */
import type { Env } from '../env.ts';
import { add, type Cost, NOTHING } from './budget.ts';

/** Cloudflare Queues, "Pricing": a message is written, read and deleted. */
const OPERATIONS_PER_MESSAGE = 3;

type Bindings = Pick<Env, 'DB' | 'EVENTS' | 'DELIVERIES' | 'DEAD_LETTERS'>;

export interface Meter {
  /** Is told of each cost as soon as it is known, and waited for. */
  spent: (cost: Cost) => Promise<void>;
  /** Whether so many operations of queues are left. */
  maySend: (operations: number) => boolean;
}

export function metered<E extends Bindings>(env: E, meter: Meter): E {
  const { spent } = meter;
  const inner = new WeakMap<object, D1PreparedStatement>();
  const tell = async <R extends D1Result<unknown>>(results: R[]) => {
    const costs = results.map(({ meta }) => ({ ...NOTHING, rowsRead: meta.rows_read, rowsWritten: meta.rows_written }));
    await spent(costs.reduce<Cost>(add, NOTHING));
  };
  const wrap = (statement: D1PreparedStatement): D1PreparedStatement => {
    const all = async () => {
      const result = await statement.all();
      await tell([result]);
      return result;
    };
    const wrapped = {
      bind: (...values: unknown[]) => wrap(statement.bind(...values)),
      all,
      // `run` and `first` answer the same, but for what it cost: of `first` the database does not tell that.
      run: all,
      first: async (column?: string) => {
        const [row] = (await all()).results as Record<string, unknown>[];
        return row === undefined ? null : column === undefined ? row : (row[column] ?? null);
      },
    } as unknown as D1PreparedStatement;
    inner.set(wrapped, statement);
    return wrapped;
  };
  const batch = async (statements: D1PreparedStatement[]) => {
    const results = await env.DB.batch(statements.map((statement) => inner.get(statement) ?? statement));
    await tell(results);
    return results;
  };
  const DB = { prepare: (sql: string) => wrap(env.DB.prepare(sql)), batch } as unknown as D1Database;
  const queues = {
    EVENTS: meteredQueue(env.EVENTS, meter),
    DELIVERIES: meteredQueue(env.DELIVERIES, meter),
    DEAD_LETTERS: meteredQueue(env.DEAD_LETTERS, meter),
  };
  return { ...env, DB, ...queues };
}

function meteredQueue(queue: Queue, { spent, maySend }: Meter): Queue {
  const sending = async <T>(messages: number, send: () => Promise<T>): Promise<T> => {
    const operations = messages * OPERATIONS_PER_MESSAGE;
    if (!maySend(operations)) throw new Error("the day's budget of background jobs leaves no operations of queues for it");
    const sent = await send();
    await spent({ ...NOTHING, queueOperations: operations });
    return sent;
  };
  return {
    send: (body: unknown, options?: QueueSendOptions) => sending(1, () => queue.send(body, options)),
    sendBatch: (messages: Iterable<MessageSendRequest>) => {
      const all = [...messages];
      return sending(all.length, () => queue.sendBatch(all));
    },
  } as Queue;
}
