/** The route that compares the files of two images. */
import type * as z from 'zod';
import { compareFiles, type FileComparison } from '../../app/layer-files.ts';
import type { fileChanges } from '../../contract/answers/images.ts';
import { fileChangesQuery } from '../../contract/images.ts';
import { changesMatching, type FileChange } from '../../oci/file-changes.ts';
import { FILE_CHANGES_SHOWN_MAX } from '../../vocabulary/images.ts';
import { type AppEnv, callOf, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, timeOf } from './answers.ts';
import { operation } from './operation.ts';

/** The approximate number of database rows that a comparison reads: two manifests, and the blobs of their layers. */
const ROWS = 100;

export const fileComparisons = new Hono<AppEnv>({ strict: false }).get(
  '/repositories/:name{.+}/-/file-changes',
  operation({ query: fileChangesQuery, rowsRead: ROWS }),
  async (c) => {
    const { from, to, ...compared } = await compareFiles(callOf(c), repositoryIn(c), c.var.query);
    return answer({ from, to, ...shown(compared, c.var.query.filter ?? '') });
  },
);

function shown(
  { changes, unread, unreadable, shared, isWhole, truncated }: FileComparison,
  filter: string,
): Omit<z.output<typeof fileChanges>, 'from' | 'to'> {
  const { added = 0, removed = 0, changed = 0, addedBytes = 0, removedBytes = 0 } = changes ?? {};
  const items = changesMatching(changes?.items ?? [], filter);
  return {
    ...{ sharedLayers: shared, sharedLayersRead: isWhole },
    ...{ unread: unread.map(({ digest, size }) => ({ digest, size })), unreadable },
    changes: changes && {
      ...{ added, removed, changed, addedBytes, removedBytes },
      items: items.slice(0, FILE_CHANGES_SHOWN_MAX).map(shownChange),
    },
    truncated: truncated || (changes?.truncated ?? false) || items.length > FILE_CHANGES_SHOWN_MAX,
  };
}

type ShownChange = NonNullable<z.output<typeof fileChanges>['changes']>['items'][number];

function shownChange({ path, change, from, to }: FileChange): ShownChange {
  return { path, change, from: from && shownState(from), to: to && shownState(to) };
}

function shownState({ kind, size, mode, modified, target }: NonNullable<FileChange['from']>) {
  return { kind, size, mode, modifiedAt: timeOf(modified), target } as NonNullable<ShownChange['from']>;
}
