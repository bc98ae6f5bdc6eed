/**
 * A batch is the only transaction of D1: a list of statements without IF. The class `Batch` adds preconditions with reasons,
 * handles for the rows of a statement, and named parameters. If a batch recorded events, a queue message announces the events
 * after the response.
 */
import { waitUntil } from 'cloudflare:workers';
import type { Env } from '../env.ts';
import { report } from '../telemetry.ts';
import { PRECONDITIONS, type Precondition } from '../vocabulary/reasons.ts';
import { isRefusal, type Particulars, Refusal } from '../vocabulary/refusal.ts';
import { databaseFailure } from './database-failure.ts';
import { type Announcement, QUIET_TYPES } from './event.ts';
import { type Parameters, prepare } from './sql.ts';

export type Database = Pick<Env, 'DB' | 'EVENTS'>;

/** Runs work that may continue after the response. If such work is lost, the cron job does what is necessary (invariant 9). */
export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

/** A reference to the rows that one statement of a batch will yield. */
export interface Handle<Row> {
  readonly index: number;
  /** Never set. It only carries the type of the row for the compiler. */
  readonly row?: Row;
}

/** The results of a batch. Callers read them by the handles of the statements. */
export interface Results {
  of<Row>(handle: Handle<Row>): Row[];
  /** Returns the row of a statement that yields one at most, or `null` if there is none. */
  first<Row>(handle: Handle<Row>): Row | null;
  /** Returns the number of rows that a statement wrote. */
  changes(handle: Handle<unknown>): number;
  /** The number of rows that D1 charges for the whole batch, including index entries. */
  readonly rows: { read: number; written: number };
}

/**
 * The message and detail of a refusal. They can be a function that queries them after the batch failed. It returns `null` if
 * the precondition holds by then, because another request has changed the data; the reason of the refusal is then `overtaken`.
 */
type Saying = Particulars | (() => Promise<Particulars | null>) | undefined;

/** Reads of one module that another module adds to its own batch, so that both take one D1 call. */
export interface JoinedReads {
  addTo(batch: Batch): void;
  /** Receives the results of the batch to which the reads were added. */
  take(results: Results): void;
}

/** Data that a change relies on, and that were read before its batch, perhaps for an earlier request. */
export interface Assumption {
  /** Adds the precondition that the data are still the same. It must be the first step of the batch. */
  addTo(batch: Batch): void;
}

/** The refusal of a batch whose assumption does not hold. The data must be read, and the change decided again. */
export class AssumptionFailed extends Refusal {
  constructor() {
    super('overtaken');
  }
}

interface CommitOptions {
  /**
   * True if running the batch twice does no harm, whatever happens in between. If the answer of D1 is lost, the batch is then
   * sent again.
   */
  repeatable?: boolean;
}

/**
 * A transaction: statements that run in order, all of them or none. Preconditions are statements of the batch, so they are
 * checked at the moment of the change. If a precondition does not hold, D1 aborts the batch and `commit` throws a refusal.
 */
export class Batch {
  readonly #env: Database;
  readonly #statements: D1PreparedStatement[] = [];
  readonly #sayings = new Map<Precondition, Saying>();

  constructor(env: Database) {
    this.#env = env;
  }

  /**
   * Adds a precondition. If it does not hold, the batch is aborted and `commit` throws a refusal with `reason`.
   * @param condition an SQL expression
   * @param says the message and detail of the refusal; a function is called only if the batch failed for this reason. If
   * several preconditions of a batch have the same reason, only one of them may have `says`. It must then be a function that
   * finds out which of them failed.
   */
  require(reason: Precondition, condition: string, parameters: Parameters = {}, says?: Saying): void {
    if (says !== undefined && this.#sayings.has(reason)) throw new Error(`two preconditions of one batch say why: ${reason}`);
    if (says !== undefined) this.#sayings.set(reason, says);
    this.run(`INSERT INTO refusals (reason) SELECT '${reason}' WHERE NOT coalesce((${condition}), FALSE)`, parameters);
  }

  /**
   * Adds a precondition that can fail for several reasons.
   * @param refusals a SELECT that yields reasons. If it yields a row, the batch is aborted with that reason
   * @param says the message and detail of the refusal for each reason
   */
  requireNone(refusals: string, parameters: Parameters, says: Partial<Record<Precondition, Saying>>): void {
    for (const [reason, saying] of Object.entries(says) as [Precondition, Saying][]) {
      if (this.#sayings.has(reason)) throw new Error(`two preconditions of one batch say why: ${reason}`);
      this.#sayings.set(reason, saying);
    }
    this.run(`INSERT INTO refusals (reason) ${refusals}`, parameters);
  }

  /**
   * Adds the condition of an assumption. If it does not hold, the batch is refused with `AssumptionFailed`.
   * @param failing a SELECT that yields a row if the assumption does not hold
   */
  assume(failing: string, parameters: Parameters): void {
    this.run(`INSERT INTO refusals (reason) SELECT '${ASSUMPTION}' FROM (${failing}) LIMIT 1`, parameters);
  }

  /** Adds a statement that yields no rows, or whose rows are not needed. */
  run(sql: string, parameters: Parameters = {}): Handle<never> {
    return this.add(prepare(this.#env, sql, parameters));
  }

  /** Adds a statement that yields rows: a SELECT, or a statement with RETURNING. */
  query<Row>(sql: string, parameters: Parameters = {}): Handle<Row> {
    return this.add(prepare(this.#env, sql, parameters));
  }

  add<Row>(statement: D1PreparedStatement): Handle<Row> {
    this.#statements.push(statement);
    return { index: this.#statements.length - 1 };
  }

  /** The number of statements in the batch. */
  get size(): number {
    return this.#statements.length;
  }

  /**
   * Runs the batch. If the batch recorded events, a queue message announces them after the response.
   * @throws Refusal with the reason of the first precondition that does not hold
   */
  async commit({ repeatable = false }: CommitOptions = {}): Promise<Results> {
    try {
      return resultsOf(await commit(this.#env, this.#statements));
    } catch (error) {
      if (!repeatable || preconditionIn(error) || !isLost(error)) throw await this.#refusalOf(error);
    }
    try {
      return resultsOf(await commit(this.#env, this.#statements));
    } catch (error) {
      throw await this.#refusalOf(error);
    }
  }

  async #refusalOf(error: unknown): Promise<unknown> {
    const reason = preconditionIn(error);
    if (constraintIn(error) === OTHER_CONSTRAINT) return new AssumptionFailed();
    if (reason === null) return error;
    const says = this.#sayings.get(reason);
    const said = typeof says === 'function' ? await says() : says;
    return said === null ? new Refusal('overtaken') : new Refusal(reason, said);
  }
}

export function newBatch(env: Database): Batch {
  return new Batch(env);
}

const CONSTRAINTS = new Map<string, Precondition>(PRECONDITIONS.map((reason) => [reason.replaceAll('-', '_'), reason]));

/** The text that stands for a failed assumption in `refusals`. It has no constraint of its own, so the last one refuses it. */
const ASSUMPTION = 'assumption';
const OTHER_CONSTRAINT = 'precondition';

function constraintIn(error: unknown): string {
  return (error instanceof Error ? /CHECK constraint failed: (\w+)/.exec(error.message)?.[1] : undefined) ?? '';
}

/** Returns the precondition whose failure aborted a batch, or `null` for any other error. */
function preconditionIn(error: unknown): Precondition | null {
  return CONSTRAINTS.get(constraintIn(error)) ?? null;
}

function resultsOf(results: D1Result[]): Results {
  const rows = <Row>({ index }: Handle<Row>) => (results[index]?.results ?? []) as Row[];
  return {
    of: rows,
    first: (handle) => rows(handle)[0] ?? null,
    changes: ({ index }) => results[index]?.meta.changes ?? 0,
    rows: {
      read: results.reduce((sum, { meta }) => sum + meta.rows_read, 0),
      written: results.reduce((sum, { meta }) => sum + meta.rows_written, 0),
    },
  };
}

/**
 * The maximum number of attempts of a change if other requests change the same data meanwhile. An attempt takes one or two D1
 * calls.
 */
const RACES_MAX = 5;

/**
 * Repeats a change that depends on data that it read before. Its batch has a precondition, with the reason `overtaken`, that
 * these data are unchanged. If another request has changed them in between, the change is attempted again with the new data.
 * @throws overtaken if every attempt failed for this reason; AssumptionFailed at once, because the caller has
 *   read the data of an assumption
 */
export async function withRetries<T>(attempt: () => Promise<T>, triesMax = RACES_MAX): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRefusal(error, 'overtaken') || error instanceof AssumptionFailed || tries >= triesMax) throw error;
    }
  }
}

async function commit(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[]> {
  const results = await env.DB.batch(statements);
  announceRecorded(env, results);
  return results;
}

/**
 * Returns true if a failed batch may be sent again: the connection was lost, or the error is unknown. The batch may have been
 * committed, because D1 itself repeats only reads. A batch is not sent again if the database is overloaded, has used up its
 * daily limit, or refused a statement.
 */
export function isLost(error: unknown): boolean {
  const failure = databaseFailure(error);
  return failure === null || failure === 'lost';
}

/** A result row. Rows of events that `recordEvent` wrote have these fields; other rows do not. */
type Recorded = { recorded_event?: number; type?: string };

/**
 * Sends one message for all events of a batch. If the queue does not accept the message, the cron job finds the events in the
 * database.
 */
function announceRecorded(env: Database, results: D1Result[]): void {
  const recorded = (results.flatMap((result) => result.results) as Recorded[]).filter(
    ({ recorded_event, type }) => recorded_event !== undefined && !QUIET_TYPES.includes(type ?? ''),
  );
  if (recorded.length === 0) return;
  const announcement: Announcement = { newest: Math.max(...recorded.map(({ recorded_event = 0 }) => recorded_event)) };
  const failed = (error: unknown) => report('events.not-announced', { error });
  try {
    waitUntil(env.EVENTS.send(announcement).then(() => undefined, failed));
  } catch (error) {
    failed(error);
  }
}
