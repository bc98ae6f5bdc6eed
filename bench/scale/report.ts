/** The tables of a run, as text. */

import { machine } from '../report.ts';
import type { Result } from '../scale.ts';
import type { Measured } from './measure.ts';
import { NOT_CALLED } from './routes.ts';

/**
 * A route is marked if it reads more rows on the large database than on the small one. These numbers of additional rows are
 * tolerated: for each byte by which the answer is longer, and in any case.
 */
const MORE_ROWS = 1.5;
const FEW_ROWS = 20;

export function reportOf(large: Result, small: Result, calls: number): string {
  return [
    routeTable(large, small),
    '',
    '* more rows are read on the large database, although the answer is not longer in the same proportion',
    'times: CPU of the runtime in ms, which is read on Linux only; elsewhere what the client waits',
    `${calls} calls of each; small: ${small.scale * 100} %, large: ${large.scale * 100} %`,
    '',
    'scheduled jobs on the large database, rows of all runs:',
    table(
      ['job', 'runs', 'rows read', 'rows written', 'ms of the longest run'],
      large.jobs.map(({ job, runs, rowsRead, rowsWritten, ms }) => [job, ...[runs, rowsRead, rowsWritten, ms].map(String)]),
    ),
    '',
    `the database has ${megabytes(large.filled.bytes)} MB, made in ${Math.round(large.filled.seconds)} s:`,
    table(
      ['table', 'rows', 'MB', 'MB per million rows'],
      large.filled.tables
        .filter(({ rows }) => rows >= 1000 * large.scale)
        .map(({ name, rows, bytes }) => [name, String(rows), megabytes(bytes), megabytes((bytes / rows) * 1e6)]),
    ),
    '',
    ...[...new Set([...large.routes.refused, ...small.routes.refused])].map((line) => `refused: ${line}`),
    ...NOT_CALLED,
    machine(),
  ].join('\n');
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}

function routeTable(large: Result, small: Result): string {
  const rows = large.routes.measured.flatMap((one) => {
    const other = small.routes.measured.find(({ name }) => name === one.name);
    return other ? [rowOf(one, other)] : [];
  });
  const columns = [
    '',
    'route',
    'D1',
    'rows read',
    'large : small',
    'written',
    'bytes',
    'p50',
    'p99',
    'p50 : small',
    'p99 : small',
  ];
  return table(columns, rows);
}

function rowOf(large: Measured, small: Measured): string[] {
  const ratio = (value: (one: Measured) => number) => (value(large) / Math.max(1, value(small))).toFixed(2);
  const time = (value: (one: Measured) => number) => (value(large) / value(small)).toFixed(2);
  const grows =
    large.rowsRead > small.rowsRead + FEW_ROWS &&
    large.rowsRead / Math.max(1, small.rowsRead) > MORE_ROWS * (large.bytes / Math.max(1, small.bytes));
  return [
    grows ? '*' : '',
    large.name.replace('{.+}', ''),
    String(large.d1Calls),
    `${large.rowsRead} / ${small.rowsRead}`,
    ratio(({ rowsRead }) => rowsRead),
    `${large.rowsWritten} / ${small.rowsWritten}`,
    `${large.bytes} / ${small.bytes}`,
    large.p50.toFixed(1),
    large.p99.toFixed(1),
    time(({ p50 }) => p50),
    time(({ p99 }) => p99),
  ];
}

function table(columns: string[], rows: string[][]): string {
  const all = [columns, ...rows];
  const widths = columns.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) => row.map((cell, n) => (n < 2 ? cell.padEnd(widths[n] ?? 0) : cell.padStart(widths[n] ?? 0))).join('  '))
    .join('\n');
}
