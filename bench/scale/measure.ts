/** Calls every route on one database, and measures the cost of each call. */
import { Caller } from './caller.ts';
import { type Case, READS } from './calls.ts';
import { CONTENT } from './content-calls.ts';
import type { Line, Scaled } from './registry.ts';
import { CHANGES } from './registry-calls.ts';

export const CASES: Case[] = [...READS, ...CONTENT, ...CHANGES];

/** The cost of the calls of one case. Counts are those of the most expensive call. */
export interface Measured extends Pick<Line, 'd1Calls' | 'rowsRead' | 'rowsWritten'> {
  name: string;
  /** The number of bytes of the longest answer. */
  bytes: number;
  /** The CPU time that the runtime used for a call, in milliseconds. If it cannot be read, the duration of the call. */
  p50: number;
  p99: number;
}

/** The cost of the runs of a background job. */
export interface Job {
  job: string;
  runs: number;
  rowsRead: number;
  rowsWritten: number;
  /** The number of milliseconds of the longest run of the schedule, with all its jobs. */
  ms: number;
}

/** The number of calls of a case before the measured ones. They compile code and fill caches. */
const WARM_UP = 2;
/** A new token is requested this often, because a token is valid for five minutes. */
const LOGIN_EVERY_MS = 120_000;
const RUN_MINUTES = 10;

export interface Routes {
  measured: Measured[];
  /** The cases that were refused, each with the answer. */
  refused: string[];
}

export async function measureRoutes(registry: Scaled, calls: number): Promise<Routes> {
  const caller = new Caller(registry);
  await caller.prepare();
  const measured: Measured[] = [];
  const refused: string[] = [];
  let login = 0;
  for (const one of CASES) {
    if (Date.now() - login > LOGIN_EVERY_MS) {
      await caller.login();
      login = Date.now();
    }
    const costs = await callsOf(registry, caller, one, Math.min(calls, one.calls ?? calls)).catch((error: Error) => {
      refused.push(`${nameOf(one)}: ${error.message}`);
      return null;
    });
    if (costs) measured.push(summaryOf(nameOf(one), costs));
  }
  return { measured, refused };
}

function nameOf({ route, note }: Case): string {
  return note === undefined ? route : `${route} (${note})`;
}

interface Cost {
  line: Line;
  bytes: number;
  ms: number;
}

async function callsOf(registry: Scaled, caller: Caller, { route, send }: Case, calls: number): Promise<Cost[]> {
  const costs: Cost[] = [];
  const [method = ''] = route.split(' ');
  const warmUp = calls > WARM_UP ? WARM_UP : 0;
  for (let n = 0; n < calls + warmUp; n++) {
    const sent = await send(caller, n);
    const before = registry.cpuTime();
    const { headers, text, ms } = await caller.send(method, sent);
    const line = await registry.lineOf(headers.get('x-request-id') ?? '');
    const cpu = before === null ? ms : (registry.cpuTime() ?? before) - before;
    if (n >= warmUp) costs.push({ line, bytes: text.length, ms: cpu });
  }
  return costs;
}

function summaryOf(name: string, costs: Cost[]): Measured {
  const most = (value: (cost: Cost) => number) => Math.max(...costs.map(value));
  const times = costs.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (part: number) => times[Math.ceil(times.length * part) - 1] ?? 0;
  return {
    name,
    d1Calls: most(({ line }) => line.d1Calls),
    rowsRead: most(({ line }) => line.rowsRead),
    rowsWritten: most(({ line }) => line.rowsWritten),
    bytes: most(({ bytes }) => bytes),
    p50: at(0.5),
    p99: at(0.99),
  };
}

/** Runs the schedule `runs` times, ten minutes apart, from the beginning of an hour. */
export async function measureJobs(registry: Scaled, runs: number): Promise<Job[]> {
  const hour = 60 * RUN_MINUTES * 6000;
  const start = Math.ceil(Date.now() / hour) * hour;
  const jobs = new Map<string, Job>();
  for (let run = 0; run < runs; run++) {
    const lines = await registry.runSchedule(start + run * RUN_MINUTES * 60_000);
    const ms = lines.find(({ event }) => event === 'schedule')?.ms ?? 0;
    for (const { job, rowsRead, rowsWritten } of lines.filter(({ event }) => event === 'schedule.job')) {
      const known = jobs.get(job ?? '') ?? { job: job ?? '', runs: 0, rowsRead: 0, rowsWritten: 0, ms: 0 };
      known.runs++;
      known.rowsRead += rowsRead;
      known.rowsWritten += rowsWritten;
      known.ms = Math.max(known.ms, ms);
      jobs.set(known.job, known);
    }
  }
  return [...jobs.values()];
}
