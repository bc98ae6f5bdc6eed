/** The tables of a run, for the terminal and for docs/performance.md. */
import { readFile, writeFile } from 'node:fs/promises';
import { machine } from '../report.ts';
import type { CaseName } from './cases.ts';
import type { Counts, Kind } from './chain.ts';
import type { ClientName } from './clients.ts';
import type { Sample } from './measure.ts';

/** The results of a case with one client. */
export interface Row {
  name: CaseName;
  client: ClientName;
  /** For each delay of D1, the samples of each round, by the name of the side. */
  /** The number of Berth's calls for which no answer waited, for one pull or push. */
  background: Counts;
  times: { d1: number; samples: Record<string, Sample | null>[] }[];
}

interface About {
  d1: number[];
  r2: number;
  rounds: number;
  hasPeer: boolean;
}

const PAGE = new URL('../../docs/performance.md', import.meta.url);
const [BEGIN, END] = ['<!-- bench:latency -->', '<!-- /bench:latency -->'];

export function tablesOf(rows: Row[], about: About): string {
  const { rounds, r2, hasPeer } = about;
  const day = new Date().toISOString().slice(0, 10);
  return [
    `Calls of D1 and R2 of Berth, for one pull or push:`,
    countTable(rows, 'berth'),
    `Calls on the critical path of the others:`,
    othersTable(rows, hasPeer),
    `Time in ms with D1 delayed by ${about.d1.join(', ')} ms and R2 by ${r2} ms, and its ratio to the others in the same round:`,
    timeTable(rows, about),
    `Measured on ${day}, ${machine()}, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, medians.`,
  ].join('\n\n');
}

/** Replaces the tables in the page. @throws Error if the page has no markers for them */
export async function writeTables(tables: string): Promise<void> {
  const page = await readFile(PAGE, 'utf8');
  const [start, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`docs/performance.md has no ${BEGIN} with ${END} after it`);
  await writeFile(PAGE, `${page.slice(0, start + BEGIN.length)}\n\n${tables}\n\n${page.slice(end)}`);
}

function countTable(rows: Row[], side: string): string {
  const header = ['', 'client', 'requests', 'D1 path', 'D1 path, no limit', 'D1 all', 'D1 after', 'R2 path', 'R2 all'];
  const cells = rows.map((row) => {
    const sample = samplesOf(row, side);
    const median = (count: (one: Sample) => number) => String(medianOf(sample.map(count)));
    return [
      row.name,
      row.client,
      median((one) => one.requests),
      ...(['path', 'shortest', 'total'] as const).map((which) => median((one) => one[which].d1)),
      row.background.d1.toFixed(1),
      ...(['path', 'total'] as const).map((which) => median((one) => one[which].r2)),
    ];
  });
  return markdown(header, cells);
}

function othersTable(rows: Row[], hasPeer: boolean): string {
  const header = ['', 'client', 'bare D1', 'bare D1, no limit', 'bare R2', ...(hasPeer ? ['peer D1', 'peer R2'] : [])];
  const cells = rows.map((row) => {
    const median = (side: string, count: (one: Sample) => number) => {
      const samples = samplesOf(row, side);
      return samples.length === 0 ? '-' : String(medianOf(samples.map(count)));
    };
    const path = (side: string, kind: Kind) => median(side, (one) => one.path[kind]);
    const bare = [path('least', 'd1'), median('least', (one) => one.shortest.d1), path('least', 'r2')];
    return [row.name, row.client, ...bare, ...(hasPeer ? [path('peer', 'd1'), path('peer', 'r2')] : [])];
  });
  return markdown(header, cells);
}

function timeTable(rows: Row[], { d1, hasPeer }: About): string {
  const groups = ['ms', ': bare', ...(hasPeer ? [': peer'] : [])];
  const header = ['', 'client', ...groups.map((group) => `${group} (D1 ${d1.join(' / ')})`)];
  const cells = rows.map(({ name, client, times }) => {
    const each = (value: (samples: Record<string, Sample | null>[]) => string) =>
      times.map(({ samples }) => value(samples)).join(' / ');
    const ratio = (side: string) =>
      each((rounds) => {
        const ratios = rounds.flatMap(({ berth, [side]: other }) =>
          berth && other ? [berth.milliseconds / other.milliseconds] : [],
        );
        return ratios.length === 0 ? '-' : medianOf(ratios).toFixed(2);
      });
    const time = each((rounds) => String(Math.round(medianOf(rounds.flatMap(({ berth }) => berth?.milliseconds ?? [])))));
    return [name, client, time, ratio('least'), ...(hasPeer ? [ratio('peer')] : [])];
  });
  return markdown(header, cells);
}

function samplesOf(row: Row, side: string): Sample[] {
  return row.times.flatMap(({ samples }) => samples.flatMap((round) => round[side] ?? []));
}

function medianOf(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

function markdown(header: string[], rows: string[][]): string {
  const widths = header.map((name, column) => Math.max(3, name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, n) => (n < 2 ? cell.padEnd(widths[n] ?? 0) : cell.padStart(widths[n] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, n) => (n < 2 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}
