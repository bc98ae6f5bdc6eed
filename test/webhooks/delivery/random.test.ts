/**
 * Random sequences of all failures: endpoints fail, hang and are slow; consumers stop, run in parallel and lose answers of the
 * database; messages are lost, duplicated and shuffled; queues refuse messages. When the failures end, each subscription gets
 * exactly its events. No delivery is sent again after its success was saved. The same seed gives the same sequence.
 *
 * @module-tag walk
 */
import { beforeEach, expect, test, vi } from 'vitest';
import { runScheduled } from '../../../src/cron.ts';
import type { Env } from '../../../src/env.ts';
import type { RecordedEvent } from '../../../src/events/event.ts';
import { eventsAfter } from '../../../src/events/history.ts';
import { replayFailed } from '../../../src/webhooks/delivery/history.ts';
import { hears } from '../../../src/webhooks/filter.ts';
import type { Subscription } from '../../../src/webhooks/subscriptions.ts';
import { FAULTS, faulty } from '../../world/faults.ts';
import { recordAll } from '../../world/record.ts';
import { inFull } from '../../world/sampling.ts';
import {
  type Answering,
  bury,
  deliverSome,
  hanging,
  idOf,
  match,
  newScene,
  pass,
  rowsOf,
  type Scene,
  status,
  subscribe,
  turning,
  untilQuiet,
} from '../../world/webhooks.ts';

const SEEDS = Array.from({ length: inFull(12, 2) }, (_, n) => 4711 + n);
const STEPS = 160;

beforeEach(() => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
});

class Chance {
  private state: number;

  constructor(seed: number) {
    this.state = seed;
  }

  /** A number from 0 to 1 (Mulberry32). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  of<T>(all: readonly T[]): T {
    return all[this.below(all.length)] as T;
  }
}

const ABOUTS = ['acme/api', 'acme/web', 'zeta/api', 'organization:acme', ''];
const TYPES = ['tag.created', 'tag.deleted', 'manifest.pushed'];

class Walk {
  readonly scene: Scene;
  readonly chance: Chance;
  subscriptions: Subscription[] = [];
  /** The present behaviour of each endpoint. */
  private readonly moods = new Map<string, Answering>();
  /** The number of requests for each delivery when it was first found saved as delivered. */
  private readonly recorded = new Map<string, number>();
  private readonly flying = new Set<string>();
  readonly log: string[] = [];

  constructor(scene: Scene, seed: number) {
    this.scene = scene;
    this.chance = new Chance(seed);
    scene.doors.random = () => this.chance.next();
    scene.sink.answer = async (post, signal) => {
      if (this.flying.has(post.id)) throw new Error(`two at a time: ${post.id}`);
      this.flying.add(post.id);
      try {
        return await (this.moods.get(post.url) ?? status(204))(post, signal);
      } finally {
        this.flying.delete(post.id);
      }
    };
  }

  private slow(seconds: number): Answering {
    return async (_, signal) => {
      await Promise.race([
        this.scene.clock.sleep(seconds * 1000),
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
      ]);
      return new Response('at last', { status: 200 });
    };
  }

  /** Bindings with a fault or without one. `stopped` resolves when the Worker stops. */
  private faults(): { env: Env; stopped?: Promise<void> } {
    if (this.chance.next() < 0.6) return { env: this.scene.env };
    const { env, stopped } = faulty(this.scene.env, this.chance.of(FAULTS), this.chance.below(4));
    return { env, stopped };
  }

  private async happen(): Promise<void> {
    const count = 1 + this.chance.below(4);
    const target = () => JSON.stringify({ tag: this.chance.of(['v1', 'v2', 'latest']) });
    const sources = Array.from({ length: count }, () => ({
      about: this.chance.of(ABOUTS),
      by: { subject: 'user:admin' },
      select: 'SELECT :type AS type, :target AS target',
      parameters: { type: this.chance.of(TYPES), target: target() },
    }));
    await recordAll(this.scene.env, sources);
  }

  private async matchOnce(): Promise<void> {
    const { env, stopped } = this.faults();
    this.scene.events.held.splice(0, 100);
    const work = match({ env }, 2).catch(() => undefined);
    await Promise.race([work, ...(stopped ? [stopped] : [])]);
  }

  private async deliverOnce(): Promise<void> {
    const one = () => deliverSome(this.scene, { size: 1 + this.chance.below(5), ...this.faults() });
    const consumers = Array.from({ length: 1 + this.chance.below(3) }, one);
    await turning(this.scene, Promise.all(consumers));
  }

  private mischief(): void {
    const { held } = this.chance.of([this.scene.deliveries, this.scene.deliveries, this.scene.deadLetters, this.scene.events]);
    const at = this.chance.below(held.length);
    const what = this.chance.of(['lose', 'double', 'hurry', 'shuffle']);
    const message = held[at];
    if (!message) return;
    if (what === 'lose') held.splice(at, 1);
    if (what === 'double') held.push({ ...message, id: crypto.randomUUID(), delaySeconds: this.chance.below(60) });
    if (what === 'hurry') message.delaySeconds = 0;
    if (what === 'shuffle') held.sort(() => this.chance.next() - 0.5);
  }

  private readonly acts: Record<string, () => Promise<unknown> | unknown> = {
    happen: () => this.happen(),
    match: () => this.matchOnce(),
    'match by two': () => Promise.all([this.matchOnce(), this.matchOnce()]),
    deliver: () => this.deliverOnce(),
    'deliver again': () => this.deliverOnce(),
    bury: () => bury(this.scene, this.faults()),
    mischief: () => this.mischief(),
    mood: () => {
      const { posts } = this.scene.sink;
      const url = posts.length === 0 ? 'https://hooks0.example.com/' : this.chance.of(posts).url;
      const moods = [status(204), status(200), status(500), status(503, { 'retry-after': '40' }), hanging];
      this.moods.set(url, this.chance.of([...moods, this.slow(3), this.slow(8), this.slow(12)]));
    },
    queue: () => {
      const queue = this.chance.of([this.scene.events, this.scene.deliveries, this.scene.deadLetters]);
      queue.down = this.chance.next() < 0.4;
    },
    time: () => pass(this.scene, 1 + this.chance.below(this.chance.of([10, 100, 1500]))),
    cron: () => {
      pass(this.scene, 600);
      const { env, stopped } = this.faults();
      const work = turning(this.scene, runScheduled(env, this.scene.clock.now, this.scene.doors)).catch(() => undefined);
      return Promise.race([work, ...(stopped ? [stopped] : [])]);
    },
  };

  async step(): Promise<void> {
    const name = this.chance.of(Object.keys(this.acts));
    this.log.push(name);
    await this.acts[name]?.();
    await this.check(name);
  }

  /** Checks that the step sent no delivery that was saved as delivered before the step. */
  async check(after: string): Promise<void> {
    const { posts } = this.scene.sink;
    for (const row of await rowsOf(this.scene)) {
      if (row.state === 'delivered' && !this.recorded.has(idOf(row))) this.recorded.set(idOf(row), posts.length);
    }
    const again = posts.filter(({ id }, at) => at >= (this.recorded.get(id) ?? Number.POSITIVE_INFINITY));
    expect(
      again.map(({ id }) => id),
      `sent again after it was written down, by "${after}"`,
    ).toEqual([]);
  }

  async heal(): Promise<void> {
    for (const queue of [this.scene.events, this.scene.deliveries, this.scene.deadLetters]) queue.down = false;
    this.moods.clear();
    const cron = () => turning(this.scene, runScheduled(this.scene.env, this.scene.clock.now, this.scene.doors));
    await untilQuiet(this.scene, cron);
    for (const subscription of this.subscriptions) await replayFailed(this.scene.env, subscription, 0);
    await untilQuiet(this.scene, cron);
    await this.check('healing');
  }

  async expected(): Promise<string[]> {
    const { items, more } = await eventsAfter(this.scene.env, 0, 10_000);
    expect(more).toBe(false);
    const told = (event: RecordedEvent) =>
      this.subscriptions.filter((one) => event.id > one.firstEvent && hears(one, event)).map(({ id }) => `${id}_${event.id}`);
    return items.flatMap(told).sort();
  }
}

test.each(SEEDS)(
  'seed %i: each subscription gets its events, whatever goes wrong on the way',
  { tags: 'slow' },
  async (seed) => {
    const scene = await newScene();
    const walk = new Walk(scene, seed);
    const told = [
      { filter: { types: ['tag.created' as const, 'tag.deleted' as const] } },
      { scope: 'organization:acme' },
      { scope: 'repository:acme/api', filter: { tags: ['v*'] }, format: 'harbor' as const },
      { filter: { repositories: ['*/api'] }, format: 'slack' as const },
    ];
    try {
      for (const [n, one] of told.entries()) {
        walk.subscriptions.push(await subscribe(scene, { ...one, url: `https://hooks${n}.example.com/` }));
        for (let step = 0; step < STEPS / told.length; step++) await walk.step();
      }
      await walk.heal();
      const expected = await walk.expected();
      const rows = await rowsOf(scene);
      expect(rows.filter(({ state }) => state !== 'delivered').map((row) => [idOf(row), row.state])).toEqual([]);
      expect(rows.map(idOf).sort()).toEqual(expected);
      expect([...new Set(scene.sink.acknowledged.map(({ id }) => id))].sort()).toEqual(expected);
      expect(expected.length).toBeGreaterThan(10);
    } catch (error) {
      throw new Error(`seed ${seed}, after ${walk.log.length} steps (${walk.log.slice(-12).join(', ')})`, { cause: error });
    }
  },
);
