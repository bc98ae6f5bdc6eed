/**
 * Attached tags: tags that belong to another manifest of the repository by their name (`oci/attachment.ts`). Rules neither select nor
 * count them; they stay as long as their subject and are deleted with it. Pure.
 */
import { attachedTo, beginningOf } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import { append, type Inventory } from './inventory.ts';

export interface Attached {
  tag: Tag;
  /** The manifest that the tag names. */
  digest: Digest;
  subject: Digest;
}

/**
 * Finds the attached tags. A tag is an ordinary one if its subject is not in the repository, if it names the subject itself, or if it
 * would close a cycle: nothing in a cycle could ever be deleted.
 */
export function attachedIn({ tags, manifests, references }: Omit<Inventory, 'left'>): Attached[] {
  const named = tags.flatMap(({ tag, digest }) => {
    const beginning = attachedTo(tag);
    return beginning === null ? [] : [{ tag, digest, beginning }];
  });
  if (named.length === 0) return [];
  const subjects = new Map(manifests.map(({ digest }) => [beginningOf(digest), digest]));
  const attached = named.flatMap(({ tag, digest, beginning }) => {
    const subject = subjects.get(beginning);
    return subject === undefined || subject === digest ? [] : [{ tag, digest, subject }];
  });
  const cyclic = inCycles([
    ...references.map(({ parent, child }) => ({ from: parent, to: child })),
    ...manifests.flatMap(({ digest, subject }) => (subject === null ? [] : [{ from: subject, to: digest }])),
    ...attached.map(({ subject, digest }) => ({ from: subject, to: digest })),
  ]);
  return attached.filter(({ subject, digest }) => !cyclic.has(subject) || !cyclic.has(digest));
}

interface Edge {
  from: Digest;
  to: Digest;
}

/** The manifests in a cycle, or on a path from one cycle to another. */
function inCycles(edges: Edge[]): Set<Digest> {
  const behind = remaining(edges);
  const inner = edges.filter(({ from, to }) => behind.has(from) && behind.has(to));
  return remaining(inner.map(({ from, to }) => ({ from: to, to: from })));
}

/** The nodes that remain after repeatedly removing every node without an incoming edge. */
function remaining(edges: Edge[]): Set<Digest> {
  const targets = new Map<Digest, Digest[]>();
  const open = new Map<Digest, number>();
  for (const { from, to } of edges) {
    append(targets, from, to);
    open.set(to, (open.get(to) ?? 0) + 1);
  }
  const ready = [...targets.keys()].filter((digest) => !open.has(digest));
  for (let from = ready.pop(); from !== undefined; from = ready.pop()) {
    for (const to of targets.get(from) ?? []) {
      const left = (open.get(to) ?? 0) - 1;
      open.set(to, left);
      if (left === 0) ready.push(to);
    }
  }
  return new Set([...open].filter(([, left]) => left > 0).map(([digest]) => digest));
}
