/** The collector and the scrub, repeatedly while the clients work, and to their end when they have stopped. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Miniflare } from 'miniflare';
import type { Connection, Log } from './log.ts';

interface Slice {
  pass: 'running' | 'finished';
  report: { objects: number; bytes: number; links: number; purged: number; blobs: number; problems: string[] };
}

export interface Collected {
  passes: number;
  /** Deleted bytes of R2, and the bytes of the blobs among them. */
  objects: number;
  bytes: number;
}

/** Milliseconds between two runs of the schedule. */
const SCHEDULE = 1500;

export class Collecting {
  readonly collected: Collected = { passes: 0, objects: 0, bytes: 0 };
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Two at once, with the schedule, as in two isolates. Ends some time after `stopped` says so. */
  async backToBack(connection: Connection, worker: Miniflare, stopped: () => boolean): Promise<void> {
    const lane = async (pause: number) => {
      while (!stopped()) {
        await this.#slice(connection);
        await sleep(pause);
      }
    };
    const schedule = async () => {
      for (let run = 0; !stopped(); run++) {
        await runSchedule(worker, run % 2 === 0);
        await sleep(SCHEDULE);
      }
    };
    await Promise.all([lane(0), lane(100), schedule()]);
  }

  async #slice(connection: Connection): Promise<Slice | null> {
    const { status, bytes } = await connection.send('POST gc', [200], 'POST', '/api/v1/gc');
    if (status !== 200) {
      await sleep(200);
      return null;
    }
    const slice = JSON.parse(new TextDecoder().decode(bytes)) as Slice;
    if (slice.pass === 'running') return slice;
    this.collected.passes++;
    this.collected.objects += slice.report.objects;
    this.collected.bytes += slice.report.bytes;
    for (const problem of slice.report.problems) this.#log.complain(`the collector met a problem: ${problem}`);
    return slice;
  }

  /** Whole passes, until one finds nothing more to do. */
  async toTheEnd(connection: Connection, maxPasses: number): Promise<void> {
    for (let passes = 0, idle = 0; passes < maxPasses && idle < 2; ) {
      const slice = await this.#slice(connection);
      if (slice?.pass !== 'finished') continue;
      passes++;
      const { objects, links, purged, blobs } = slice.report;
      idle = objects + links + purged + blobs === 0 ? idle + 1 : 0;
    }
  }
}

/**
 * @param hourly all six runs of an hour, which include the hourly jobs; otherwise one of them @param days by which that time
 * is later than now: the age of uploads is in their ids
 */
export async function runSchedule(worker: Miniflare, hourly: boolean, days = 0): Promise<void> {
  const { scheduled } = await worker.getWorker('berth');
  for (const minute of hourly ? [7, 17, 27, 37, 47, 57] : [37]) {
    const now = new Date(Date.now() + days * 24 * 60 * 60_000);
    now.setUTCMinutes(minute);
    const { outcome } = await scheduled({ scheduledTime: now });
    if (outcome !== 'ok') throw new Error(`the schedule ended with ${outcome}`);
  }
}
