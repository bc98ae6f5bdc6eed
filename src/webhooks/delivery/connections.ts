/** Limits the connections of this isolate to each endpoint. */
import { CLAIM, type DeliveryKey } from './deliveries.ts';

/** Connections to one endpoint from this isolate. */
const CONNECTIONS_MAX = 5;

/** The times at which connections were taken, by subscription. */
const open = new Map<string, number[]>();

/** Returns `null` if there are enough. A connection whose invocation was killed counts until its attempt must be over. */
export function takeConnection({ subscription }: DeliveryKey, now: number): number | null {
  const taken = (open.get(subscription) ?? []).filter((since) => since > now - CLAIM * 1000 && since <= now);
  if (taken.length >= CONNECTIONS_MAX) return null;
  open.set(subscription, [...taken, now]);
  return now;
}

export function giveConnection({ subscription }: DeliveryKey, taken: number | null): void {
  const all = open.get(subscription) ?? [];
  const at = taken === null ? -1 : all.indexOf(taken);
  const rest = at < 0 ? all : all.toSpliced(at, 1);
  if (rest.length > 0) open.set(subscription, rest);
  else open.delete(subscription);
}
