/** Measures one pull or push: its time, and the calls to D1 and R2 for which it waited. */
import { performance } from 'node:perf_hooks';
import { type CaseName, prepareCase } from './cases.ts';
import { type Counts, chainOf, type Kind, longestWay, totalOf, type Visit } from './chain.ts';
import type { ClientName } from './clients.ts';
import { Lane } from './lane.ts';
import { lookAt, type Side, setDelays } from './sides.ts';

export interface Delays {
  d1: number;
  r2: number;
}

export interface Sample {
  milliseconds: number;
  requests: number;
  /** The number of calls on the critical path. */
  path: Counts;
  /** The number of calls on the critical path if the client had no limit on parallel requests. */
  shortest: Counts;
  /** The number of all calls for which answers waited. */
  total: Counts;
}

export function nameOf(client: ClientName, name: CaseName): string {
  return `${name}, ${client}`;
}

/** Measures a pull or push on one side. Returns `null` if the side does not support the case. */
export async function measure(side: Side, client: ClientName, name: CaseName, delays: Delays): Promise<Sample | null> {
  if (name === 'pull, public' && !side.isPublic) return null;
  await setDelays(side, 0, 0);
  const work = await prepareCase(name, client, side);
  await lookAt(side);
  await setDelays(side, delays.d1, delays.r2);
  const lane = new Lane(side.url, nameOf(client, name));
  const start = performance.now();
  await work(lane);
  const milliseconds = performance.now() - start;
  const { visits } = await lookAt(side);
  const counted = new Map(visits.map((visit) => [visit.number, visit]));
  const both = (count: (kind: Kind) => number): Counts => ({ d1: count('d1'), r2: count('r2') });
  const weight = (kind: Kind) => (number: number) => chainOf(visitOf(counted, number), kind);
  return {
    milliseconds,
    requests: visits.length,
    path: both((kind) => longestWay(lane.last, weight(kind), 'after')),
    shortest: both((kind) => longestWay(lane.last, weight(kind), 'needs')),
    total: both((kind) => visits.reduce((sum, visit) => sum + totalOf(visit, kind), 0)),
  };
}

function visitOf(visits: Map<number, Visit>, number: number): Visit {
  const found = visits.get(number);
  if (!found) throw new Error(`the Worker has not counted request ${number}`);
  return found;
}
