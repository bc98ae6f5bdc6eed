/** The differences between the files of two images. This module does no I/O. */
import type { FileState, Node } from './file-tree.ts';

/** A file that is not the same in both. `null`: this image does not have it, or it is not known what it has. */
export interface FileChange {
  path: string;
  change: 'added' | 'removed' | 'changed';
  from: FileState | null;
  to: FileState | null;
}

export interface FileChanges {
  /** Sorted by path. */
  items: FileChange[];
  added: number;
  removed: number;
  changed: number;
  /** Unpacked bytes that came, and that went. A file that changed counts in both. */
  addedBytes: number;
  removedBytes: number;
  /** Whether there are more changes than `items` contains. */
  truncated: boolean;
}

/** Changes that are returned, and the characters of their paths. */
const CHANGES_MAX = 10_000;
const CHARACTERS_MAX = 2_000_000;

/**
 * Compares two trees. Contents are not compared: a file is the same if its kind, size, permissions, target and time are.
 * @param isWhole false if the layers below those of the trees are not known: a path that a layer removes was there then
 */
export function compareTrees(from: Node, to: Node, { isWhole }: { isWhole: boolean }): FileChanges {
  const found = new Found();
  const todo: [path: string, from: Node | undefined, to: Node | undefined][] = [['', from, to]];
  for (let pair = todo.pop(); pair !== undefined; pair = todo.pop()) {
    const [path, before, after] = pair;
    // Layers that both images have.
    if (before === after) continue;
    if (path !== '') found.add(path, before, after, isWhole);
    const names = [...new Set([...(before?.children?.keys() ?? []), ...(after?.children?.keys() ?? [])])].sort().reverse();
    const folder = path === '' ? '' : `${path}/`;
    for (const name of names) todo.push([`${folder}${name}`, before?.children?.get(name), after?.children?.get(name)]);
  }
  return found.changes;
}

/** The changes whose path contains the text. Letters count the same in both cases. */
export function changesMatching(changes: readonly FileChange[], text: string): readonly FileChange[] {
  const wanted = text.toLowerCase();
  return wanted === '' ? changes : changes.filter(({ path }) => path.toLowerCase().includes(wanted));
}

class Found {
  readonly changes: FileChanges = {
    ...{ items: [], added: 0, removed: 0, changed: 0 },
    ...{ addedBytes: 0, removedBytes: 0, truncated: false },
  };
  #characters = 0;

  add(path: string, before: Node | undefined, after: Node | undefined, isWhole: boolean): void {
    const change = changeOf(before, after, isWhole);
    if (change === null) return;
    const [from, to] = [before?.state ?? null, after?.state ?? null];
    this.changes[change]++;
    this.changes.removedBytes += from?.size ?? 0;
    this.changes.addedBytes += to?.size ?? 0;
    this.#characters += path.length;
    if (this.changes.items.length < CHANGES_MAX && this.#characters <= CHARACTERS_MAX) {
      this.changes.items.push({ path, change, from, to });
    } else this.changes.truncated = true;
  }
}

function changeOf(before: Node | undefined, after: Node | undefined, isWhole: boolean): FileChange['change'] | null {
  const [had, has] = [isThere(before), isThere(after)];
  if (had && has) return isSame(before, after) ? null : 'changed';
  if (!had && !has) {
    if (isWhole || before?.removed === after?.removed) return null;
    return after?.removed ? 'removed' : before?.removed ? 'added' : null;
  }
  // A folder that comes or goes with files is not told: its files are.
  const [node] = [had ? before : after];
  if (isFolder(node) && (node?.children?.size ?? 0) > 0) return null;
  return had ? 'removed' : 'added';
}

function isThere(node: Node | undefined): boolean {
  return node !== undefined && !node.removed && (node.state !== null || (node.children?.size ?? 0) > 0);
}

function isFolder(node: Node | undefined): boolean {
  return node !== undefined && (node.state === null || node.state.kind === 'folder');
}

/** Folders have no time here: everything that is put into one changes it. */
function isSame(before: Node | undefined, after: Node | undefined): boolean {
  const [from, to] = [before?.state, after?.state];
  if (isFolder(before) && isFolder(after)) return !from || !to || from.mode === to.mode;
  if (!from || !to) return false;
  return (
    from.kind === to.kind &&
    from.size === to.size &&
    from.mode === to.mode &&
    from.target === to.target &&
    from.modified === to.modified
  );
}
