/**
 * Runs background jobs one after the other while they have budget left for the day. The bindings that a job gets count the rows
 * that D1 reports and the messages that the job sends to queues.
 */
import { type Env, type Vars, withBindings } from '../env.ts';
import { countedDatabase, report } from '../telemetry.ts';
import type { Job } from '../vocabulary/jobs.ts';
import { add, type Cost, type Day, leftFor, NO_COST, recordSpending, usedUp } from './budget.ts';

export interface Work {
  job: Job;
  /** @param left what the job may still spend today (see `budget.ts`) */
  run: (env: Env, left: Cost) => Promise<unknown>;
}

/** The number of rows after which the costs are saved, because the runtime can end an invocation at any moment. */
const SAVED_AFTER = { rowsRead: 5000, rowsWritten: 200 };

/** The cost of saving the costs once. */
const SAVING: Cost = { rowsRead: 2, rowsWritten: 1, queueOperations: 0 };

/** Adds up the costs of jobs and saves them from time to time. */
class Account {
  private unsaved: Day['spent'] = {};
  private readonly env: Pick<Env, 'DB'>;
  private readonly day: Day;

  constructor(env: Pick<Env, 'DB'>, day: Day) {
    this.env = env;
    this.day = day;
  }

  async add(job: Job, cost: Cost): Promise<void> {
    for (const spent of [this.day.spent, this.unsaved]) spent[job] = add(spent[job] ?? NO_COST, cost);
    const { rowsRead, rowsWritten } = Object.values(this.unsaved).reduce(add, NO_COST);
    if (rowsRead >= SAVED_AFTER.rowsRead || rowsWritten >= SAVED_AFTER.rowsWritten) await this.save();
  }

  /** Saves the costs since the last save. If saving fails, the next save includes them. */
  async save(): Promise<void> {
    const [first] = Object.keys(this.unsaved) as Job[];
    if (!first) return;
    const saved = this.unsaved;
    this.unsaved = {};
    try {
      await recordSpending(this.env, { ...saved, [first]: add(saved[first] ?? NO_COST, SAVING) });
    } catch (error) {
      report('schedule.budget-not-saved', { error });
      for (const [job, cost] of Object.entries(saved) as [Job, Cost][])
        this.unsaved[job] = add(this.unsaved[job] ?? NO_COST, cost);
    }
  }
}

/**
 * Runs jobs one after the other. If a job fails, the next ones still run. A job without budget is skipped, which is not a
 * failure.
 * @param isEnd returns true for a failure after which all other jobs would fail too; no more jobs run then
 * @returns the failures
 */
export async function runWithin(
  env: Env,
  day: Day,
  all: readonly Work[],
  isEnd: (failure: unknown) => boolean,
): Promise<unknown[]> {
  const account = new Account(env, day);
  const failures: unknown[] = [];
  const told = new Set<Job>();
  // The jobs can share the counting bindings, because only one job runs at a time.
  let running: Job = 'expiry';
  const counted = metered(env, {
    spent: (cost) => account.add(running, cost),
    maySend: (operations) => leftFor(day, running).queueOperations >= operations,
  });
  for (const { job, run } of all) {
    running = job;
    const refusal = usedUp(day, job);
    if (refusal && !told.has(job)) report('schedule.budget-used-up', { message: refusal, job });
    if (refusal) told.add(job);
    else await runOne(day, job, () => run(counted, leftFor(day, job))).catch((error: unknown) => failures.push(error));
    if (isEnd(failures.at(-1))) break;
  }
  await account.save();
  return failures;
}

/** Runs a job and logs its cost. */
async function runOne(day: Day, job: Job, run: () => Promise<unknown>): Promise<void> {
  const before = day.spent[job] ?? NO_COST;
  let outcome = 'failed';
  try {
    await run();
    outcome = 'ok';
  } finally {
    const after = day.spent[job] ?? NO_COST;
    const names = Object.keys(NO_COST) as (keyof Cost)[];
    report('schedule.job', { job, outcome, ...Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) });
  }
}

/**
 * Runs a job that an administrator has requested. Its costs are counted like those of a scheduled run. The caller decides
 * whether the job may run although the budget is used up.
 */
export async function runCounted<T>(env: Env, day: Day, job: Job, run: (env: Env, left: Cost) => Promise<T>): Promise<T> {
  const account = new Account(env, day);
  try {
    const counted = metered(env, { spent: (cost) => account.add(job, cost), maySend: () => true });
    return await run(counted, leftFor(day, job));
  } finally {
    await account.save();
  }
}

/** The number of queue operations that one message costs: it is written, read and deleted (Cloudflare Queues, "Pricing"). */
const OPERATIONS_PER_MESSAGE = 3;

type Bindings = Pick<Env, 'DB' | 'EVENTS' | 'DELIVERIES' | 'DEAD_LETTERS'>;

interface Meter {
  /** Receives each cost as soon as it is known. The operation that caused the cost waits for the returned promise. */
  spent: (cost: Cost) => Promise<void>;
  /** Returns true if at least this many queue operations are left. */
  maySend: (operations: number) => boolean;
}

function metered<E extends Bindings & Vars>(env: E, meter: Meter): E {
  const { spent } = meter;
  const DB = countedDatabase(env.DB, (results) => {
    const costs = results.map(({ meta }) => ({ ...NO_COST, rowsRead: meta.rows_read, rowsWritten: meta.rows_written }));
    return spent(costs.reduce<Cost>(add, NO_COST));
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
    await spent({ ...NO_COST, queueOperations: operations });
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
