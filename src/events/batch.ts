/**
 * D1's only transaction is `batch()`, a list of statements without IF. The class `Batch` adds preconditions with reasons,
 * handles for the rows of a statement, and named parameters. If a batch recorded events, a message announces them to the queue
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

/** Runs work that may continue after the response. If such work is lost, the cron finishes what is necessary (invariant 9). */
export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

/** A reference to the rows that one statement of a batch will yield. */
export interface Handle<Row> {
  readonly index: number;
  /** Is never set. It only carries the type of the row. */
  readonly row?: Row;
}

/** The results of a batch. The handle of a statement selects its rows. */
export interface Results {
  of<Row>(handle: Handle<Row>): Row[];
  /** Returns the row of a statement that yields one at most, or `null` if there is none. */
  first<Row>(handle: Handle<Row>): Row | null;
  /** Returns the number of rows that a statement wrote. */
  changes(handle: Handle<unknown>): number;
  /** The number of rows that D1 counted for the whole batch, index entries included. */
  readonly rows: { read: number; written: number };
}

/**
 * The message and detail of a refusal, or a function that queries them after the batch was refused. The function returns `null`
 * if the precondition holds by then. Another request has then changed the data in between, and the refusal is `overtaken`.
 */
type Saying = Particulars | (() => Promise<Particulars | null>) | undefined;

/** Reads of one module that are added to the batch of another module, so that both take one database call. */
export interface JoinedReads {
  addTo(batch: Batch): void;
  /** Receives the results of that batch. */
  take(results: Results): void;
}

interface CommitOptions {
  /**
   * True if running the batch twice does no harm, whatever happens in between. If D1's answer is lost, the batch is then sent
   * again.
   */
  repeatable?: boolean;
}

/**
 * A transaction: statements that run in order, all of them or none. Preconditions are statements of the batch, so they are
 * checked at the moment of the change. The first precondition that does not hold refuses the batch.
 */
export class Batch {
  readonly #env: Database;
  readonly #statements: D1PreparedStatement[] = [];
  readonly #sayings = new Map<Precondition, Saying>();

  constructor(env: Database) {
    this.#env = env;
  }

  /**
   * Adds a precondition.
   * @param condition an SQL expression
   * @param says the message and detail of the refusal; a function is called only if the batch was refused for this reason. If
   *   several preconditions of a batch have the same reason, only one of them may have `says`. It must then be a function that
   *   finds out which of them failed.
   */
  require(reason: Precondition, condition: string, parameters: Parameters = {}, says?: Saying): void {
    if (says !== undefined && this.#sayings.has(reason)) throw new Error(`two preconditions of one batch say why: ${reason}`);
    if (says !== undefined) this.#sayings.set(reason, says);
    this.run(`INSERT INTO refusals (reason) SELECT '${reason}' WHERE NOT coalesce((${condition}), FALSE)`, parameters);
  }

  /**
   * Adds a precondition that can fail for several reasons.
   * @param refusals a SELECT that yields reasons. Its first row refuses the batch; without rows the precondition holds
   * @param says the message and detail of the refusal for each reason
   */
  requireNone(refusals: string, parameters: Parameters, says: Partial<Record<Precondition, Saying>>): void {
    for (const [reason, saying] of Object.entries(says) as [Precondition, Saying][]) {
      if (this.#sayings.has(reason)) throw new Error(`two preconditions of one batch say why: ${reason}`);
      this.#sayings.set(reason, saying);
    }
    this.run(`INSERT INTO refusals (reason) ${refusals}`, parameters);
  }

  /** Adds a statement whose rows are not needed. */
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
   * Runs the batch. The events that it records are announced to the queue after the response.
   * @throws Refusal if a precondition does not hold; it has the reason of the first such precondition
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

/** Returns the precondition whose failure aborted a batch, or `null` for any other error. */
function preconditionIn(error: unknown): Precondition | null {
  const constraint = error instanceof Error ? /CHECK constraint failed: (\w+)/.exec(error.message)?.[1] : undefined;
  return CONSTRAINTS.get(constraint ?? '') ?? null;
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

/** The maximum number of attempts of a change that other requests overtake. An attempt takes one or two database calls. */
const RACES_MAX = 5;

/**
 * Repeats a change that depends on data that it read before. The batch of the change requires that these data are still the
 * same, with the reason `overtaken`. If another request has changed them in between, the data are read and the change is
 * decided again.
 * @throws overtaken if every attempt was overtaken
 */
export async function withRetries<T>(attempt: () => Promise<T>, triesMax = RACES_MAX): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRefusal(error, 'overtaken') || tries >= triesMax) throw error;
    }
  }
}

async function commit(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[]> {
  const results = await env.DB.batch(statements);
  announceRecorded(env, results);
  return results;
}

/**
 * Returns true if a failed batch can be sent again: the connection was lost, or the error is unknown. The batch may have been
 * committed, because D1 itself repeats only reads. A batch is not sent again if the database is overloaded, has used up its
 * daily limit, or refused a statement.
 */
export function isLost(error: unknown): boolean {
  const failure = databaseFailure(error);
  return failure === null || failure === 'lost';
}

/** A result row. The row of an event that `recordEvent` wrote has these fields; other rows do not. */
type Recorded = { recorded_event?: number; type?: string };

/** Sends one message for all events of a batch. If the queue does not accept the message, the cron finds the events. */
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
