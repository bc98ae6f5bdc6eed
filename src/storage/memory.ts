/**
 * Limits the memory that buffers of request bodies take in this isolate. An isolate has 128 MB, and a request that exceeds them ends
 * all requests of the isolate.
 */
import { Refusal } from '../vocabulary/refusal.ts';

/** Bytes: enough for eight long uploads of unknown length with parts of 8 MiB, or for a thousand short ones. */
const BUFFERED_MAX = 64 * 1024 * 1024;

/** Seconds after which some of the current uploads may be finished. */
const RETRY_AFTER = 5;

/** The memory that one body holds. */
export interface Reservation {
  bytes: number;
}

/** Weak references: if its client disconnects, the runtime ends a request without running its `finally` blocks. */
const reservations = new Set<WeakRef<Reservation>>();

/** @throws memory-full if the other bodies leave less than `bytes` */
export function reserve(reservation: Reservation, bytes: number): void {
  if (heldByOthers(reservation) + bytes > BUFFERED_MAX) {
    throw new Refusal('memory-full', {
      message:
        'this registry is receiving as many uploads of unknown length as it has memory for: nothing of this request was kept, ' +
        `try again in ${RETRY_AFTER} seconds`,
      retryAfter: RETRY_AFTER,
    });
  }
  if (reservation.bytes === 0) reservations.add(new WeakRef(reservation));
  reservation.bytes = bytes;
}

export function release(reservation: Reservation): void {
  reservation.bytes = 0;
  heldByOthers(reservation);
}

/** Also removes reservations that are released or collected. */
function heldByOthers(reservation: Reservation): number {
  let sum = 0;
  for (const reference of reservations) {
    const held = reference.deref();
    if (!held || held.bytes === 0) reservations.delete(reference);
    else if (held !== reservation) sum += held.bytes;
  }
  return sum;
}
