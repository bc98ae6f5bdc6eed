/**
 * D1's only transaction is `batch()`: a list of statements without IF. A `Batch` gives it preconditions with reasons, handles
 * for the rows of its statements, and named parameters. Events that a batch recorded are announced to the queue behind the
 * answer.
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

/** Runs work that may outlive the answer. Nothing necessary depends on it: the cron finishes what it leaves (invariant 9). */
export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

/** The rows that one statement of a batch will yield. */
export interface Handle<Row> {
  readonly index: number;
  /** Only in the type. */
  readonly row?: Row;
}

/** The rows of a batch, by the handles of its statements. */
export interface Results {
  of<Row>(handle: Handle<Row>): Row[];
  /** The first row of a statement that yields at most one. */
  first<Row>(handle: Handle<Row>): Row | null;
  /** Rows that a statement wrote. */
  changes(handle: Handle<unknown>): number;
  /** D1's own count for the whole batch, index entries included. */
  readonly rows: { read: number; written: number };
}

/**
 * The message and detail of a refusal: given beforehand, or a function that queries them after the batch was refused. It
 * returns `null` if it finds nothing wrong any more: another request came between, and the batch was overtaken.
 */
type Saying = Particulars | (() => Promise<Particulars | null>) | undefined;

/** Reads of one module that join the batch of another, so that both take one call of the database. */
export interface JoinedReads {
  addTo(batch: Batch): void;
  /** Gets the results of that batch. */
  take(results: Results): void;
}

interface CommitOptions {
  /**
   * True if carrying the batch out twice does no harm, whatever happens in between: it is sent again if its answer was lost.
   */
  repeatable?: boolean;
}

/**
 * A transaction: statements that are carried out in order, all or none. Its preconditions are statements too, so they hold at
 * the moment of the change; the first that does not hold refuses the batch.
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
   * @param says what the refusal says; a function is called only when the batch was refused for this reason. Preconditions of
   *   one
   *   batch with the same reason share what they say: give it to one of them, as a function that finds out which it was.
   */
  require(reason: Precondition, condition: string, parameters: Parameters = {}, says?: Saying): void {
    if (says !== undefined && this.#sayings.has(reason)) throw new Error(`two preconditions of one batch say why: ${reason}`);
    if (says !== undefined) this.#sayings.set(reason, says);
    this.run(`INSERT INTO refusals (reason) SELECT '${reason}' WHERE NOT coalesce((${condition}), FALSE)`, parameters);
  }

  /**
   * Adds a precondition that can fail for several reasons.
   * @param refusals a SELECT of reasons, the first one first; without rows the precondition holds
   * @param says the particulars for each of the reasons
   */
  requireNone(refusals: string, parameters: Parameters, says: Partial<Record<Precondition, Saying>>): void {
    for (const [reason, saying] of Object.entries(says) as [Precondition, Saying][]) {
      if (this.#sayings.has(reason)) throw new Error(`two preconditions of one batch say why: ${reason}`);
      this.#sayings.set(reason, saying);
    }
    this.run(`INSERT INTO refusals (reason) ${refusals}`, parameters);
  }

  /** A statement whose rows nobody asks for. */
  run(sql: string, parameters: Parameters = {}): Handle<never> {
    return this.add(prepare(this.#env, sql, parameters));
  }

  /** A statement with rows: a SELECT, or one with RETURNING. */
  query<Row>(sql: string, parameters: Parameters = {}): Handle<Row> {
    return this.add(prepare(this.#env, sql, parameters));
  }

  add<Row>(statement: D1PreparedStatement): Handle<Row> {
    this.#statements.push(statement);
    return { index: this.#statements.length - 1 };
  }

  /** The number of its statements. */
  get size(): number {
    return this.#statements.length;
  }

  /**
   * Runs the batch, and announces its events to the queue after the answer.
   * @throws Refusal for the first precondition that does not hold
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

/** The precondition that ended a batch, `null` for any other error. */
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

/** Tries of a change that other requests overtake. Each takes one or two calls of the database. */
const RACES_MAX = 5;

/**
 * Repeats a change that is decided on what was read before. Its batch requires that this still holds, with the reason
 * `overtaken`; if another request came between, everything is read and decided again.
 * @throws overtaken if every try was overtaken
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
 * True if a failed batch is worth another try. D1 repeats only reads by itself; a lost write may have been committed or not. A
 * database that is overloaded, has used up its daily limit or refused the statement is not asked again.
 */
export function isLost(error: unknown): boolean {
  const failure = databaseFailure(error);
  return failure === null || failure === 'lost';
}

/** A result row: the one that `recordEvent` wrote, or one of any other statement. */
type Recorded = { recorded_event?: number; type?: string };

/** Sends one message for all events of a batch. If the queue refuses it, the cron finds the events. */
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
