/** Rows that have outlived their use: what purged manifests pointed at, old history, old counts, and links to blobs. */
import { settings } from '../../env.ts';
import { balanceBlobs } from '../usage/balance.ts';
import type { Phase, Stores } from './slice.ts';
import { lookOf, sweep, type Walk, type Walked } from './walk.ts';

const DAY = 24 * 60 * 60;
/** Days that pulls are counted for: the longest time that a rule asks about is shorter than what their last one tells. */
const PULL_DAYS = 90;

/**
 * What manifests of the trash point at, once those are gone. They are found by their children, so that no document is needed,
 * which may be damaged.
 */
const ORPHANED: Walk = {
  table: 'trashed_references',
  key: ['child', 'repository_id', 'parent'],
  condition: `NOT EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)`,
};
export const REFERENCES: Phase<Walked> = {
  start: ['', 0, ''],
  look: (env, after) => lookOf(env, ORPHANED, after),
  act: async (slice, rows) => (await sweep(slice, ORPHANED, rows, balanceBlobs)).next,
};

/** The newest of a tag stays while it says what the tag names, or that its name is reserved. */
const oldHistory = (env: Stores): Walk => ({
  table: 'tag_history',
  key: ['repository_id', 'tag', 'point'],
  condition: `x.at <= unixepoch() - ${settings(env).historyDays * DAY} AND (x.digest IS NULL AND NOT x.reserved
    OR EXISTS (SELECT 1 FROM tag_history h WHERE h.repository_id = x.repository_id AND h.tag = x.tag AND h.point > x.point))`,
});
export const HISTORY: Phase<Walked> = {
  start: [0, '', 0],
  look: (env, after) => lookOf(env, oldHistory(env), after),
  async act(slice, rows) {
    const { swept, next } = await sweep(slice, oldHistory(slice.env), rows);
    slice.report.history += swept;
    return next;
  },
};

/** The newest of an image stays while the image does: it says when it was last pulled. */
const OF = 'repository_id = x.repository_id AND digest = x.digest';
const OLD_PULLS: Walk = {
  table: 'pulls',
  key: ['repository_id', 'digest', 'day'],
  condition: `x.day < unixepoch() / ${DAY} - ${PULL_DAYS} AND (EXISTS (SELECT 1 FROM pulls WHERE ${OF} AND day > x.day)
    OR NOT EXISTS (SELECT 1 FROM manifests WHERE ${OF}) AND NOT EXISTS (SELECT 1 FROM trashed_manifests WHERE ${OF}))`,
};
export const PULLS: Phase<Walked> = {
  start: [0, '', 0],
  look: (env, after) => lookOf(env, OLD_PULLS, after),
  async act(slice, rows) {
    const { swept, next } = await sweep(slice, OLD_PULLS, rows);
    slice.report.pulls += swept;
    return next;
  },
};

/** When a manifest was last asked for, once it is gone from its repository and from the trash. */
const GONE: Walk = {
  table: 'manifest_checks',
  key: ['repository_id', 'digest'],
  condition: `NOT EXISTS (SELECT 1 FROM manifests WHERE ${OF}) AND NOT EXISTS (SELECT 1 FROM trashed_manifests WHERE ${OF})`,
};
export const CHECKS: Phase<Walked> = {
  start: [0, ''],
  look: (env, after) => lookOf(env, GONE, after),
  async act(slice, rows) {
    const { swept, next } = await sweep(slice, GONE, rows);
    slice.report.pulls += swept;
    return next;
  },
};

/** Invariant 4: nothing of the repository points at the blob, neither where it is nor in its trash, and nobody was told of it lately. */
const UNNEEDED: Walk = {
  table: 'repository_blobs',
  key: ['digest', 'repository_id'],
  condition: `x.leased_until <= unixepoch()
    AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.repository_id = x.repository_id AND r.child = x.digest)
    AND NOT EXISTS (SELECT 1 FROM trashed_references r WHERE r.child = x.digest AND r.repository_id = x.repository_id)`,
};
export const LINKS: Phase<Walked> = {
  start: ['', 0],
  look: (env, after) => lookOf(env, UNNEEDED, after),
  async act(slice, rows) {
    const { swept, next } = await sweep(slice, UNNEEDED, rows, balanceBlobs);
    slice.report.links += swept;
    return next;
  },
};
