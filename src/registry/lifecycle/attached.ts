/**
 * Tags that belong to another manifest of the repository by their name (`oci/attachment.ts`). Rules neither select nor count them:
 * they stay while their subject stays, and go with it. Pure.
 */
import { attachedTo, beginningOf } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import { append, type Inventory } from './inventory.ts';

export interface Attached {
  tag: Tag;
  /** What the tag names. */
  digest: Digest;
  subject: Digest;
}

/**
 * A tag is ordinary if its subject is not in the repository, if it names the subject itself, and if it would make a circle: nothing
 * in that could ever go.
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
  const circle = circular([
    ...references.map(({ parent, child }) => ({ from: parent, to: child })),
    ...manifests.flatMap(({ digest, subject }) => (subject === null ? [] : [{ from: subject, to: digest }])),
    ...attached.map(({ subject, digest }) => ({ from: subject, to: digest })),
  ]);
  return attached.filter(({ subject, digest }) => !circle.has(subject) || !circle.has(digest));
}

interface Edge {
  from: Digest;
  to: Digest;
}

/** What is in a circle, or on the way from one to another. */
function circular(edges: Edge[]): Set<Digest> {
  const behind = unreached(edges);
  const inner = edges.filter(({ from, to }) => behind.has(from) && behind.has(to));
  return unreached(inner.map(({ from, to }) => ({ from: to, to: from })));
}

/** What stays when all that nothing points at is taken away, again and again. */
function unreached(edges: Edge[]): Set<Digest> {
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
