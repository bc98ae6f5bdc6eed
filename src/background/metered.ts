/** Bindings that count rows of the database, as D1 reports them, and messages sent to queues. */
import { type Env, type Vars, withBindings } from '../env.ts';
import { countedDatabase } from '../telemetry.ts';
import { add, type Cost, NOTHING } from './budget.ts';

/** Cloudflare Queues, "Pricing": a message is written, read and deleted. */
const OPERATIONS_PER_MESSAGE = 3;

type Bindings = Pick<Env, 'DB' | 'EVENTS' | 'DELIVERIES' | 'DEAD_LETTERS'>;

interface Meter {
  /** Called with each cost as soon as it is known, and awaited. */
  spent: (cost: Cost) => Promise<void>;
  /** True if so many queue operations are left. */
  maySend: (operations: number) => boolean;
}

export function metered<E extends Bindings & Vars>(env: E, meter: Meter): E {
  const { spent } = meter;
  const DB = countedDatabase(env.DB, (results) => {
    const costs = results.map(({ meta }) => ({ ...NOTHING, rowsRead: meta.rows_read, rowsWritten: meta.rows_written }));
    return spent(costs.reduce<Cost>(add, NOTHING));
  });
  const queues = {
    EVENTS: meteredQueue(env.EVENTS, meter),
    DELIVERIES: meteredQueue(env.DELIVERIES, meter),
    DEAD_LETTERS: meteredQueue(env.DEAD_LETTERS, meter),
  };
  return withBindings<E>(env, { DB, ...queues } as Partial<E>);
}

function meteredQueue(queue: Queue, { spent, maySend }: Meter): Queue {
  const sending = async <T>(messages: number, send: () => Promise<T>): Promise<T> => {
    const operations = messages * OPERATIONS_PER_MESSAGE;
    if (!maySend(operations))
      throw new Error("the day's budget of background jobs has no queue operations left: the message was not sent");
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
