/** The change by which a tag came to name its digest: when, and by whom. */
import { type Actor, actorIn } from '../../events/event.ts';
import type { Digest } from '../../oci/digest.ts';

/** A change by which a tag came to name a manifest. */
export interface Tagging {
  /** In seconds since the epoch. */
  at: number;
  by: Actor;
  /** The digest that the tag named before; `null`: it named none, or the history does not tell. */
  previous: Digest | null;
}

/** An SQL expression: the last change of a tag for `taggingOf`, or NULL if the history has none. */
export const lastTagging = (
  repositoryId: string,
  tag: string,
) => `(SELECT json_array(h.at, h.actor, h.key_id, h.previous) FROM tag_history h
    WHERE h.repository_id = ${repositoryId} AND h.tag = ${tag} ORDER BY h.point DESC LIMIT 1)`;

/** @param text the value of `lastTagging` */
export function taggingOf(text: string | null): Tagging | null {
  if (text === null) return null;
  const [at, subject, key, previous] = JSON.parse(text) as [number, string, string | null, Digest | null];
  return { at, by: actorIn(subject, key), previous };
}
