/** Deletes rows that are no longer needed: references of purged manifests, old history, old counts, and links to blobs. */
import { settings } from '../../env.ts';
import { rebalanceBlobs } from '../usage/balance.ts';
import type { GcReport, Phase, Stores } from './slice.ts';
import { lookOf, sweep, type Walk, type WalkRow } from './walk.ts';

const DAY = 24 * 60 * 60;
/** Days for which pulls are counted. Lifecycle rules ask for fewer days than the newest row of an image tells of. */
const PULL_DAYS = 90;

/** A phase that deletes the rows of a walk and adds their number to a field of the report, if one is named. */
function sweeping(
  start: Phase['start'],
  walkOf: (env: Stores) => Walk,
  counted: 'history' | 'pulls' | 'links' | null,
  balance: typeof rebalanceBlobs | null = null,
): Phase<WalkRow> {
  return {
    start,
    look: (env, after) => lookOf(env, walkOf(env), after),
    async act(slice, rows) {
      const { swept, next } = await sweep(slice, walkOf(slice.env), rows, balance);
      if (counted !== null) slice.report[counted satisfies keyof GcReport] += swept;
      return next;
    },
  };
}

/** References of trashed manifests that have been purged. They are found by the child, so a damaged document does not matter. */
export const REFERENCES = sweeping(
  ['', 0, ''],
  () => ({
    table: 'trashed_references',
    key: ['child', 'repository_id', 'parent'],
    condition: `NOT EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)`,
  }),
  null,
  rebalanceBlobs,
);

/** Old points of the tag history. The newest point of a tag stays while the tag exists or its name is reserved. */
export const HISTORY = sweeping(
  [0, '', 0],
  (env) => ({
    table: 'tag_history',
    key: ['repository_id', 'tag', 'point'],
    condition: `x.at <= unixepoch() - ${settings(env).historyDays * DAY} AND (x.digest IS NULL AND NOT x.reserved
      OR EXISTS (SELECT 1 FROM tag_history h WHERE h.repository_id = x.repository_id AND h.tag = x.tag AND h.point > x.point))`,
  }),
  'history',
);

const SAME_MANIFEST = 'repository_id = x.repository_id AND digest = x.digest';
const MANIFEST_IS_PURGED = `NOT EXISTS (SELECT 1 FROM manifests WHERE ${SAME_MANIFEST})
    AND NOT EXISTS (SELECT 1 FROM trashed_manifests WHERE ${SAME_MANIFEST})`;

/** Old pull counts. The newest row of an image stays as long as the image: it says when the image was last pulled. */
export const PULLS = sweeping(
  [0, '', 0],
  () => ({
    table: 'pulls',
    key: ['repository_id', 'digest', 'day'],
    condition: `x.day < unixepoch() / ${DAY} - ${PULL_DAYS}
      AND (EXISTS (SELECT 1 FROM pulls WHERE ${SAME_MANIFEST} AND day > x.day) OR ${MANIFEST_IS_PURGED})`,
  }),
  'pulls',
);

/** The times at which clients last asked for manifests that have been purged. */
export const CHECKS = sweeping(
  [0, ''],
  () => ({ table: 'manifest_checks', key: ['repository_id', 'digest'], condition: MANIFEST_IS_PURGED }),
  'pulls',
);

/** Links to blobs that no manifest of the repository references, in the trash or outside, and that no lease covers (invariant 4). */
export const LINKS = sweeping(
  ['', 0],
  () => ({
    table: 'repository_blobs',
    key: ['digest', 'repository_id'],
    condition: `x.leased_until <= unixepoch()
      AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.repository_id = x.repository_id AND r.child = x.digest)
      AND NOT EXISTS (SELECT 1 FROM trashed_references r WHERE r.child = x.digest AND r.repository_id = x.repository_id)`,
  }),
  'links',
  rebalanceBlobs,
);
