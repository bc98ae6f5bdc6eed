/**
 * D1's only transaction is a batch, and a batch knows no IF. `refuseUnless` is its precondition: a statement that ends the
 * batch where the condition does not hold, so that what follows is written as a whole or not at all. What a batch recorded is
 * announced to the queue once it is committed, beside the answer and not before it.
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

/** Work that may outlive the answer. Nothing necessary is given to it: the cron finishes what it leaves (invariant 9). */
export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

/** The rows that one statement of a batch will yield. */
export interface Handle<Row> {
  readonly index: number;
  /** Only in the type. */
  readonly row?: Row;
}

/** What a batch yielded, by the handles of its statements. */
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
 * What a refusal says besides its reason: known beforehand, or asked when a batch was refused for it. The function returns `null` if
 * it finds nothing wrong any more: then another request came between, and the batch was overtaken.
 */
type Saying = Particulars | (() => Promise<Particulars | null>) | undefined;

interface CommitOptions {
  /** For a batch that does no harm when it is carried out twice, whatever happens in between: a lost answer is asked for again. */
  repeatable?: boolean;
}

/**
 * A transaction: statements that are carried out in order, all or none. Its preconditions are statements too, so they hold at the
 * moment of the change; the first that does not hold refuses the batch.
 */
export class Batch {
  readonly #env: Database;
  readonly #statements: D1PreparedStatement[] = [];
  readonly #sayings = new Map<Precondition, Saying>();

  constructor(env: Database) {
    this.#env = env;
  }

  /**
   * A precondition.
   * @param condition an SQL expression
   * @param says what the refusal says; a function is called only when the batch was refused for this reason. Preconditions of one
   *   batch with the same reason share what they say: give it to one of them, as a function that finds out which it was.
   */
  require(reason: Precondition, condition: string, parameters: Parameters = {}, says?: Saying): void {
    if (says !== undefined && this.#sayings.has(reason)) throw new Error(`two preconditions of one batch say why: ${reason}`);
    if (says !== undefined) this.#sayings.set(reason, says);
    this.run(`INSERT INTO refusals (reason) SELECT '${reason}' WHERE NOT coalesce((${condition}), FALSE)`, parameters);
  }

  /**
   * A precondition that can fail for several reasons.
   * @param refusals a SELECT of reasons to refuse for, the first one first; it holds if there is no row
   * @param says what a refusal for each of the reasons says
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

  /** Goes with `statementsOf`. */
  get statements(): readonly D1PreparedStatement[] {
    return this.#statements;
  }

  /** What the batch recorded is announced to the queue behind the answer. @throws Refusal for the first precondition that does not hold */
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

/** The steps that a function adds to a batch, as statements for a caller that still collects those. Goes with `tryBatch`. */
export function statementsOf(env: Database, add: (batch: Batch) => void): D1PreparedStatement[] {
  const batch = new Batch(env);
  add(batch);
  return [...batch.statements];
}

const CONSTRAINTS = new Map<string, Precondition>([
  ...PRECONDITIONS.map((reason) => [reason.replaceAll('-', '_'), reason] as const),
  // Of a `refuseUnless` in a batch with named preconditions. Goes with it.
  ['precondition', 'overtaken'],
]);

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

/** Tries of a change that others race with: each takes a call of the database or two, and one is won soon. */
const RACES_MAX = 5;

/**
 * For a change that was decided on what was read before, and requires in its batch that this still holds (`overtaken`). Where
 * another request came between, it is read and decided again.
 * @throws overtaken where every try was
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

/** `condition` is an SQL expression. */
export function refuseUnless(env: Pick<Env, 'DB'>, condition: string, ...parameters: unknown[]): D1PreparedStatement {
  return env.DB.prepare(`INSERT INTO refusals (reason) SELECT 'refused' WHERE NOT (${condition})`).bind(...parameters);
}

/** For a batch without preconditions. */
export async function commit(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[]> {
  const results = await env.DB.batch(statements);
  announceRecorded(env, results);
  return results;
}

/** The batch's results, or `null` where a precondition refused it. */
export async function tryBatch(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[] | null> {
  try {
    return await commit(env, statements);
  } catch (error) {
    if (preconditionIn(error) !== null) return null;
    throw error;
  }
}

/**
 * Whether a batch that failed so is worth another try. D1 repeats only reads by itself; a write that it lost, as it does when its
 * own code is updated, may have been committed or not. A database that is overloaded, has used up its day or refused the
 * statement is not asked again.
 */
export function isLost(error: unknown): boolean {
  const failure = databaseFailure(error);
  return failure === null || failure === 'lost';
}

/** For a batch that does no harm when it is carried out twice, whatever happens in between. */
export async function tryBatchTwice(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[] | null> {
  try {
    return await tryBatch(env, statements);
  } catch (error) {
    if (!isLost(error)) throw error;
    return await tryBatch(env, statements);
  }
}

/**
 * For a change whose batch may be refused by what another request has just changed, and then changed back. `refusal` looks for the
 * reason: where there is none any more, the change is tried again.
 * @param attempt `null`: refused
 * @throws what `refusal` finds; overtaken where every try was overtaken
 */
export async function persistently<T>(attempt: () => Promise<T | null>, refusal: () => Promise<Refusal | null>): Promise<T> {
  for (let tries = 0; tries < RACES_MAX; tries++) {
    const done = await attempt();
    if (done !== null) return done;
    const reason = await refusal();
    if (reason) throw reason;
  }
  const message = 'others keep changing this at the same time: nothing was changed, try again';
  throw new Refusal('overtaken', { message });
}

/** A row that `record` wrote, or any other. */
type Recorded = { recorded_event?: number; type?: string };

/** One message for all that a batch recorded, and for what was recorded before it. A queue that refuses it fails nothing. */
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
