/**
 * The memory of this isolate that buffers of bodies may take. It has 128 MB for everything, and a request that goes beyond ends
 * all of them.
 */
import { Refusal } from '../vocabulary/refusal.ts';

/** Bytes: of as many long uploads of unknown length as eight parts of 8 MiB, of short ones of as many as a thousand. */
const BUFFERED_MAX = 64 * 1024 * 1024;

/** Seconds after which some of the uploads that are under way may be done. */
const RETRY_AFTER = 5;

/** What one body holds. */
export interface Reservation {
  bytes: number;
}

/** Held weakly: the runtime ends a request whose client is gone without running anything of it to its end. */
const reservations = new Set<WeakRef<Reservation>>();

/** @throws memory-full where the other bodies leave no room for so many bytes */
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

/** Forgets what is held no longer on its way. */
function heldByOthers(reservation: Reservation): number {
  let sum = 0;
  for (const reference of reservations) {
    const held = reference.deref();
    if (!held || held.bytes === 0) reservations.delete(reference);
    else if (held !== reservation) sum += held.bytes;
  }
  return sum;
}
