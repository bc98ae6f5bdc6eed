/** The report of a run, stored with the policy until the next run. */
import type { Deferred } from './inventory.ts';

export interface Report {
  /** The time of the snapshot that the run decided on, in seconds since the epoch. */
  at: number;
  /** The subject who ran the rules; `registry`: the schedule. */
  by: string;
  tags: number;
  manifests: number;
  /** Expired tags and manifests that were not deleted; another run deletes them. */
  remaining: number;
  /** Why the run failed; `null`: it did not. */
  failed: string | null;
  left: Deferred[];
}

/** Deferred manifests that a report keeps. Others wait for a rule about untagged images. */
export const LEFT_MAX = 1500;

export function reportOf(text: string): Report {
  return JSON.parse(text) as Report;
}
