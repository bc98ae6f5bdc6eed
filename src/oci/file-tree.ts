/**
 * The files of an image: its layers put on top of each other, with their whiteouts (OCI image-spec, layer). Two images with the
 * same lower layers share the tree nodes of these layers, so a comparison visits only the nodes that differ. This module does
 * no I/O.
 */
import type { TarEntry } from './tar.ts';

/** What the topmost layer that has the path says of it. */
export type FileState = Omit<TarEntry, 'path'>;

export interface Node {
  /** `null` for a folder that no layer lists itself. */
  state: FileState | null;
  /** True if a layer removes the path, and none above it has it again. */
  removed: boolean;
  children: Map<string, Node> | null;
  /** Nodes with the owner of the tree may be changed. Others are shared, and copied before. */
  owner: object;
}

/** The maximum number of nodes of a tree. A node takes about 200 bytes of memory. */
const NODES_MAX = 200_000;
/** The maximum number of folders in a path. */
const DEPTH_MAX = 200;

export class FileTree {
  root: Node;
  /** True if the layers have more files than a tree may have. */
  truncated = false;
  #owner: object = {};
  #nodes: number;

  constructor(of: FileTree | null = null) {
    this.root = of?.root ?? { state: null, removed: false, children: null, owner: this.#owner };
    this.truncated = of?.truncated ?? false;
    this.#nodes = of === null ? 1 : of.#nodes;
  }

  /** Returns a tree with the same files. Later changes of one of both do not concern the other. */
  fork(): FileTree {
    this.#owner = {};
    return new FileTree(this);
  }

  /** Puts a layer on top. Its whiteouts concern only the layers below, wherever they stand in it. */
  apply(entries: readonly TarEntry[]): void {
    for (const { kind, path } of entries) {
      if (kind === 'removed') this.#remove(partsOf(path));
      else if (kind === 'emptied') this.#empty(partsOf(path));
    }
    for (const { path, ...state } of entries) {
      if (state.kind !== 'removed' && state.kind !== 'emptied') this.#put(partsOf(path), state);
    }
  }

  #put(parts: readonly string[] | null, state: FileState): void {
    if (parts === null || parts.length === 0) return;
    const node = this.#nodeAt(parts);
    if (node === null) return;
    node.state = state;
    node.removed = false;
    if (state.kind !== 'folder') node.children = null;
  }

  #remove(parts: readonly string[] | null): void {
    if (parts === null || parts.length === 0) return;
    const node = this.#nodeAt(parts);
    if (node === null) return;
    Object.assign(node, { state: null, removed: true, children: null });
  }

  #empty(parts: readonly string[] | null): void {
    if (parts === null) return;
    const node = this.#nodeAt(parts);
    if (node !== null) node.children = null;
  }

  /**
   * Returns the node of a path, which the caller may change. Creates the node if it does not exist. Returns `null` if the tree
   * has too many nodes.
   */
  #nodeAt(parts: readonly string[]): Node | null {
    this.root = this.#own(this.root);
    let node = this.root;
    for (const part of parts) {
      node.removed = false;
      node.children ??= new Map();
      const child = node.children.get(part);
      if (child === undefined && this.#nodes >= NODES_MAX) {
        this.truncated = true;
        return null;
      }
      if (child === undefined) this.#nodes++;
      const own = child ? this.#own(child) : { state: null, removed: false, children: null, owner: this.#owner };
      if (own !== child) node.children.set(part, own);
      node = own;
    }
    return node;
  }

  #own(node: Node): Node {
    if (node.owner === this.#owner) return node;
    return { ...node, children: node.children && new Map(node.children), owner: this.#owner };
  }
}

/** Returns the parts of a path, or `null` if the path leads out of the archive or is too deep. */
function partsOf(path: string): string[] | null {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  return parts.includes('..') || parts.length > DEPTH_MAX ? null : parts;
}
