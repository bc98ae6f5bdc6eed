/** Runs the collector and the scrub: repeatedly while the clients work, and to their end when the clients have stopped. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Miniflare } from 'miniflare';
import type { Connection, Log } from './log.ts';

interface Slice {
  pass: 'running' | 'finished';
  report: { objects: number; bytes: number; links: number; purged: number; blobs: number; problems: string[] };
}

export interface Collected {
  passes: number;
  /** The number of bytes deleted from R2, and the bytes of the deleted blobs. */
  objects: number;
  bytes: number;
}

/** The number of milliseconds between two runs of the schedule. */
const SCHEDULE = 1500;

export class Collecting {
  readonly collected: Collected = { passes: 0, objects: 0, bytes: 0 };
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Runs two collectors and the schedule at the same time, as in two isolates. Ends some time after `stopped` returns true. */
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

  /** Runs whole passes until a pass finds nothing more to delete. */
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
 * @param hourly true for all six runs of an hour, which include the hourly jobs; false for one run
 * @param days the number of days by which the time of the run is later than now. The age of an upload is in its id
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
