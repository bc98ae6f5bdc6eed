/** What a run did, as it is kept beside the policy until the next one. */
import type { Leftover } from './inventory.ts';

export interface Report {
  /** Seconds since the epoch: what was there then is what the run decided on. */
  at: number;
  /** Who carried the rules out: `registry` is the schedule. */
  by: string;
  tags: number;
  manifests: number;
  /** Tags and manifests that were to go and are there still, for another run. */
  remaining: number;
  /** What the run ended with, where it failed. */
  failed: string | null;
  left: Leftover[];
}

/** Of more, the others wait for a rule about untagged images. */
export const LEFT_MAX = 1500;

export function reportOf(text: string): Report {
  return JSON.parse(text) as Report;
}
