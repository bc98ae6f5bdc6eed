/** The report of a run, which `run.ts` saves as JSON, and the table that shows it. */
import { cpus } from 'node:os';
import type { Result, Side, Spread } from './rounds.ts';

export interface Ceiling {
  /** The number of requests per second to a route that only answers `ok`. */
  requests: number;
  /** The number of MB per second that are sent in bodies with a Content-Length (`send`) and without one (`sendUnsized`). */
  send: number;
  sendUnsized: number;
}

export interface Report {
  at: string;
  machine: string;
  distribution: string | null;
  seconds: number;
  loadGenerator: Ceiling;
  results: Result[];
}

const COLUMNS = ['measure', '', 'berth', 'bare', 'ratio', 'aim', 'distribution', 'ratio', 'load'];

export function machine(): string {
  return `${cpus().length} x ${cpus()[0]?.model.trim()}, Node ${process.version}`;
}

export function tableOf(report: Report): string {
  const rows = [COLUMNS, ...report.results.map(rowOf)];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  '),
  );
  const { requests, send, sendUnsized } = report.loadGenerator;
  return [
    ...lines,
    '',
    'median (least-most); a ratio is the median of those of each round: Berth by the other one',
    'load: how much of one core the load generator took, for Berth and bare; near 100 % it would be what is measured',
    `its own ceiling, on Workers that do nothing: ${round(requests)} req/s; it sends ${round(send)} MB/s, unsized ${round(sendUnsized)}`,
    report.distribution === null
      ? 'distribution: neither built with Go nor installed'
      : `distribution: ${report.distribution}, another kind of host: Go on the file system, nobody has to log in`,
    `${report.machine}; ${Math.round(report.seconds)} s`,
  ].join('\n');
}

function rowOf(result: Result): string[] {
  const { name, unit, aim, rates, ratios, load } = result;
  const rate = (side: Side) => shown(rates[side], round);
  const ratio = (side: Side) => shown(ratios[side], (value) => value.toFixed(2));
  const reached = (ratios.bare?.median ?? 0) >= (aim ?? 0) ? '' : ' missed';
  const wanted = aim === null ? '' : `${aim.toFixed(2)}${reached}`;
  const others = [rate('distribution'), ratio('distribution'), `${Math.round(load * 100)} %`];
  return [name, unit, rate('berth'), rate('bare'), ratio('bare'), wanted, ...others];
}

function shown(spread: Spread | undefined, format: (value: number) => string): string {
  return spread ? `${format(spread.median)} (${format(spread.min)}-${format(spread.max)})` : '';
}

function round(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}
