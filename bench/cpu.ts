/**
 * `npm run bench:cpu [-- --quick] [--peer] [--peer-source URL]` measures the CPU time of a request: of Berth, of the bare Worker,
 * which is the limit of the platform, and with `--peer` of another registry. The CPU time is that of the runtime (workerd) with
 * its SQLite, read from /proc, so it needs Linux. Other programs on the machine can only add to it, because they empty the
 * caches of the processor. So the samples of the sides take turns, and the least of each counts.
 */
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { exitOnSignals } from '../test/world/registry.ts';
import { MEASURES, type Side, startBareWorker, startBerth, startPeer } from './cpu/sides.ts';
import { machine } from './report.ts';
import { cpuTimeOf } from './scale/cpu.ts';

/** The largest acceptable ratio of Berth to the bare Worker. */
const TARGETS: Partial<Record<Measure, number>> = {
  'manifest GET, tag': 1.1,
  'manifest GET, digest': 1,
  'blob GET, 4 KiB': 1.15,
  'blob HEAD, may push': 1.5,
};
type Measure = (typeof MEASURES)[number];

/** The number of requests of a sample. A push of an image has a dozen requests. */
const REQUESTS = 100;
const PUSHES = 12;
/** As many requests at the same time as a client sends. */
const CONCURRENCY = 4;
/** The pause after a sample, in which the program does what it has promised to do after its answers. */
const REST_MS = 20;
const COLUMNS = ['CPU of a request in ms', 'Berth', 'bare', 'ratio', 'target', 'peer', 'ratio'];

exitOnSignals();
const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, peer: { type: 'boolean' }, 'peer-source': { type: 'string' } },
});
const rounds = values.quick ? 11 : 31;
const sides: Side[] = [];
try {
  const peer = values.peer || values['peer-source'] !== undefined ? await startPeer(values['peer-source']) : null;
  sides.push(await startBerth(), await startBareWorker(), ...(peer ? [peer] : []));
  const before = loadavg()[0] ?? 0;
  const rows: string[][] = [];
  for (const measure of MEASURES) rows.push(rowOf(measure, await samplesOf(measure)));
  console.log(tableOf([COLUMNS, ...rows]));
  const load = `load ${before.toFixed(1)} at the beginning, ${(loadavg()[0] ?? 0).toFixed(1)} at the end`;
  console.log(`\nthe least of ${rounds} rounds; ${new Date().toISOString().slice(0, 10)}, ${machine()}, ${load}`);
} finally {
  for (const side of sides) await side.stop();
}
process.exit();

type Samples = Map<Side['name'], number[]>;

/** The sides take turns in each round, every second round in reverse order. The first round warms up. */
async function samplesOf(measure: Measure): Promise<Samples> {
  process.stderr.write(`${measure}\n`);
  const samples: Samples = new Map(sides.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const milliseconds = await sampleOf(side, measure);
      if (milliseconds !== null && round > 0) samples.get(side.name)?.push(milliseconds);
    }
  }
  return samples;
}

/** @returns the CPU time of one request, or of one push, in milliseconds; `null` if the side has no such request */
async function sampleOf(side: Side, measure: Measure): Promise<number | null> {
  const one = side.work[measure];
  if (!one) return null;
  await side.prepare();
  const count = measure === 'push, all there' ? PUSHES : REQUESTS;
  let left = count;
  const lane = async () => {
    while (left-- > 0) await one();
  };
  const before = cpuTimeOf(side.group);
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  await sleep(REST_MS);
  const after = cpuTimeOf(side.group);
  if (before === null || after === null) throw new Error('the CPU time of the runtime cannot be read: this needs Linux');
  return (after - before) / count;
}

function rowOf(measure: Measure, samples: Samples): string[] {
  const least = (side: Side['name']) => Math.min(...(samples.get(side) ?? []));
  const [berth, bare, peer] = [least('berth'), least('bare'), least('peer')];
  const target = TARGETS[measure];
  const reached = target === undefined || berth / bare <= target ? '' : ' missed';
  return [
    measure,
    shown(berth),
    shown(bare),
    shown(berth / bare),
    target === undefined ? '' : `${target.toFixed(2)}${reached}`,
    ...(Number.isFinite(peer) ? [shown(peer), shown(berth / peer)] : ['', '']),
  ];
}

function shown(value: number): string {
  return value.toFixed(2);
}

function tableOf(rows: string[][]): string {
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lineOf = (row: string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)));
  const [head = [], ...others] = rows;
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [lineOf(head), rule, ...others.map(lineOf)].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
