/** Rows that have outlived their use: what purged manifests pointed at, old history, old counts, and links to blobs. */
import { settings } from '../../env.ts';
import { balanceBlobs } from '../usage/balance.ts';
import type { Phase } from './slice.ts';
import { sweep, type Walk } from './walk.ts';

const DAY = 24 * 60 * 60;
/** Days that pulls are counted for: the longest time that a rule asks about is shorter than what their last one tells. */
const PULL_DAYS = 90;

/**
 * What manifests of the trash point at, once those are gone. They are found by their children, so that no document is needed,
 * which may be damaged.
 */
export const REFERENCES: Phase = {
  start: ['', 0, ''],
  async step(slice, after) {
    const orphaned: Walk = {
      table: 'trashed_references',
      key: ['child', 'repository_id', 'parent'],
      condition: `NOT EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)`,
    };
    return (await sweep(slice, orphaned, after, balanceBlobs)).next;
  },
};

/** The newest of a tag stays while it says what the tag names, or that its name is reserved. */
export const HISTORY: Phase = {
  start: [0, '', 0],
  async step(slice, after) {
    const old: Walk = {
      table: 'tag_history',
      key: ['repository_id', 'tag', 'point'],
      condition: `x.at <= unixepoch() - ${settings(slice.env).historyDays * DAY} AND (x.digest IS NULL AND NOT x.reserved
        OR EXISTS (SELECT 1 FROM tag_history h WHERE h.repository_id = x.repository_id AND h.tag = x.tag AND h.point > x.point))`,
    };
    const { swept, next } = await sweep(slice, old, after);
    slice.report.history += swept;
    return next;
  },
};

/** The newest of an image stays while the image does: it says when it was last pulled. */
export const PULLS: Phase = {
  start: [0, '', 0],
  async step(slice, after) {
    const of = 'repository_id = x.repository_id AND digest = x.digest';
    const old: Walk = {
      table: 'pulls',
      key: ['repository_id', 'digest', 'day'],
      condition: `x.day < unixepoch() / ${DAY} - ${PULL_DAYS} AND (EXISTS (SELECT 1 FROM pulls WHERE ${of} AND day > x.day)
        OR NOT EXISTS (SELECT 1 FROM manifests WHERE ${of}) AND NOT EXISTS (SELECT 1 FROM trashed_manifests WHERE ${of}))`,
    };
    const { swept, next } = await sweep(slice, old, after);
    slice.report.pulls += swept;
    return next;
  },
};

/** When a manifest was last asked for, once it is gone from its repository and from the trash. */
export const CHECKS: Phase = {
  start: [0, ''],
  async step(slice, after) {
    const of = 'repository_id = x.repository_id AND digest = x.digest';
    const old: Walk = {
      table: 'manifest_checks',
      key: ['repository_id', 'digest'],
      condition: `NOT EXISTS (SELECT 1 FROM manifests WHERE ${of}) AND NOT EXISTS (SELECT 1 FROM trashed_manifests WHERE ${of})`,
    };
    const { swept, next } = await sweep(slice, old, after);
    slice.report.pulls += swept;
    return next;
  },
};

/** Invariant 4: nothing of the repository points at the blob, neither where it is nor in its trash, and nobody was told of it lately. */
export const LINKS: Phase = {
  start: ['', 0],
  async step(slice, after) {
    const unneeded: Walk = {
      table: 'repository_blobs',
      key: ['digest', 'repository_id'],
      condition: `x.leased_until <= unixepoch()
        AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.repository_id = x.repository_id AND r.child = x.digest)
        AND NOT EXISTS (SELECT 1 FROM trashed_references r WHERE r.child = x.digest AND r.repository_id = x.repository_id)`,
    };
    const { swept, next } = await sweep(slice, unneeded, after, balanceBlobs);
    slice.report.links += swept;
    return next;
  },
};
