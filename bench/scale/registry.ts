/** Starts and stops the registry of this benchmark, and finds the log line of each request. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cpuTimeOf } from './cpu.ts';

const HOST = fileURLToPath(new URL('host.ts', import.meta.url));
const LOGGED_WITHIN_MS = 5000;
/**
 * Settings of the registry. It answers nothing from memory, so that each call shows its cost in the database. Background jobs
 * have no daily budget, so that the report shows their full cost.
 */
const VARIABLES = {
  ...{ LOG: 'json', BLOB_CACHE_SECONDS: '0' },
  ...{ BACKGROUND_ROWS_READ: '0', BACKGROUND_ROWS_WRITTEN: '0', BACKGROUND_QUEUE_OPERATIONS: '0' },
};

/** A log line about a request, a run of the schedule, or a job of such a run. */
export interface Line {
  event: string;
  id?: string;
  job?: string;
  d1Calls: number;
  rowsRead: number;
  rowsWritten: number;
  ms: number;
}

export class Scaled {
  /** The lines about requests, by the id of the request. */
  readonly #requests = new Map<string, Line>();
  /** Other log lines that were not read yet. */
  #background: Line[] = [];
  readonly #child: ChildProcess;
  readonly url: string;
  readonly basic: string;

  private constructor(child: ChildProcess, url: string, basic: string) {
    this.#child = child;
    this.url = url;
    this.basic = basic;
    if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => this.#keep(line));
    if (child.stderr) createInterface({ input: child.stderr }).on('line', showProblem);
  }

  /** Starts the registry and sends a request, with which the registry takes possession of an empty database. */
  static async start(dataDir: string, { secret, password }: { secret: string; password: string }): Promise<Scaled> {
    const variables = { ...VARIABLES, REGISTRY_SECRET: secret, ADMIN_PASSWORD: password };
    const child = fork(HOST, [dataDir], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, VARIABLES: JSON.stringify(variables) },
    });
    process.once('exit', () => killGroup(child));
    const [url] = (await once(child, 'message')) as [string];
    const scaled = new Scaled(child, url, `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`);
    await (await fetch(`${url}/v2/`)).arrayBuffer();
    return scaled;
  }

  #keep(text: string): void {
    if (!text.startsWith('{')) return;
    const line = JSON.parse(text) as Line;
    if (line.event === 'request' && line.id !== undefined) this.#requests.set(line.id, line);
    else this.#background.push(line);
  }

  /** Returns the log line of a request. @throws Error if it is not logged soon */
  async lineOf(id: string): Promise<Line> {
    for (const deadline = Date.now() + LOGGED_WITHIN_MS; Date.now() < deadline; await sleep(2)) {
      const line = this.#requests.get(id);
      if (line === undefined) continue;
      this.#requests.delete(id);
      return line;
    }
    throw new Error(`the log has no line for the request ${id}`);
  }

  /** Runs the schedule at this time, in milliseconds since the epoch. @returns the log lines of the run and of its jobs */
  async runSchedule(time: number): Promise<Line[]> {
    this.#background = [];
    this.#child.send(time);
    const [outcome] = await once(this.#child, 'message');
    if (outcome !== 'ok') console.error(`schedule: ${outcome}`);
    for (const deadline = Date.now() + LOGGED_WITHIN_MS; Date.now() < deadline; await sleep(10)) {
      if (this.#background.some(({ event }) => event === 'schedule')) break;
    }
    return this.#background;
  }

  /**
   * Returns the CPU time that the runtime has used, in milliseconds, or `null` if it cannot be read (only Linux supports this).
   */
  cpuTime(): number | null {
    return cpuTimeOf(this.#child.pid ?? 0);
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    await Promise.race([exited, sleep(LOGGED_WITHIN_MS, undefined, { ref: false })]);
    killGroup(this.#child);
  }
}

/**
 * Problems of maintenance are not shown: the bucket lacks the objects of the blobs that `fill` has made, so the scrub job
 * reports them as missing.
 */
function showProblem(line: string): void {
  if (!line.includes('"maintenance.problem"')) console.error(line);
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // The error means that no process of the group is left.
  }
}
