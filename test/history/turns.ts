/**
 * Lets concurrent requests reach the stores one call at a time, in a random order: every interleaving that D1 allows, and the
 * same one for the same seed.
 */
import type { Env } from '../../src/env.ts';
import { intercepted } from '../world/intercept.ts';
import type { Random } from './random.ts';

interface Waiting {
  owner: object;
  /** The number of the turn before which this call is held back. */
  due: number;
  go: () => Promise<void>;
}

/** The share of calls that are held back, and the maximum number of turns, so that some calls come long after the others. */
const LATE = 0.08;
const LATE_TURNS = 60;
/** The number of microtasks that a request gets to make further calls at the same time. */
const SETTLE = 20;

export class Turns {
  turn = 0;
  #waiting: Waiting[] = [];
  /** The requests under way. No call has its turn before each of these requests waits for a turn. */
  #running = new Set<object>();
  #stepping = false;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** The same stores for one request, whose calls wait for their turns. */
  through(env: Env, owner: object): Env {
    const point = <T>(effect: () => Promise<T>) => this.#wait(owner, effect);
    return { ...env, DB: intercepted(env.DB, (_, effect) => point(effect)), BLOBS: takingTurns(env.BLOBS, point) };
  }

  begin(owner: object): void {
    this.#running.add(owner);
  }

  /** Ends a request: no turn waits for it any more, even if it still makes calls. */
  end(owner: object): void {
    this.#running.delete(owner);
    void this.#step();
  }

  /** Resolves after this many turns of other requests, or when there are no other requests. */
  pass(turns: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ owner: {}, due: this.turn + turns, go: async () => resolve() });
      void this.#step();
    });
  }

  #wait<T>(owner: object, effect: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const due = this.turn + (this.#random.chance(LATE) ? this.#random.below(LATE_TURNS) : 0);
      this.#waiting.push({ owner, due, go: () => effect().then(resolve, reject) });
      void this.#step();
    });
  }

  async #step(): Promise<void> {
    if (this.#stepping) return;
    this.#stepping = true;
    for (;;) {
      if (this.#running.size === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      else for (let n = 0; n < SETTLE; n++) await null;
      const busy = [...this.#running].some((owner) => !this.#waiting.some((one) => one.owner === owner));
      if (busy || this.#waiting.length === 0) break;
      await this.#next().go();
    }
    this.#stepping = false;
  }

  #next(): Waiting {
    this.turn++;
    const due = this.#waiting.filter((one) => one.due <= this.turn);
    const first = this.#waiting.reduce((least, one) => (one.due < least.due ? one : least));
    const chosen = due.length > 0 ? this.#random.pick(due) : first;
    this.#waiting.splice(this.#waiting.indexOf(chosen), 1);
    return chosen;
  }
}

type Point = <T>(effect: () => Promise<T>) => Promise<T>;

/** Makes every method of a store wait for its turn. `resumeMultipartUpload` does not wait, because it calls no store. */
function takingTurns<T extends object>(target: T, point: Point): T {
  return new Proxy(target, {
    get(inner, name) {
      const value: unknown = Reflect.get(inner, name);
      if (typeof value !== 'function') return value;
      const call = (args: unknown[]): unknown => value.apply(inner, args);
      if (name === 'resumeMultipartUpload') return (...args: unknown[]) => takingTurns(call(args) as object, point);
      if (name === 'createMultipartUpload') {
        return async (...args: unknown[]) => takingTurns(await point(() => call(args) as Promise<object>), point);
      }
      return (...args: unknown[]) => point(() => call(args) as Promise<unknown>);
    },
  });
}
