/** The latest change that made a tag name its digest: when it happened and who made it. */
import { type Actor, actorIn } from '../../events/event.ts';
import type { Digest } from '../../oci/digest.ts';

/** The change that made a tag name a manifest. */
export interface Tagging {
  /** In seconds since the epoch. */
  at: number;
  by: Actor;
  /** The digest that the tag named before. `null` if the tag was new or the tag history does not say. */
  previous: Digest | null;
}

/** SQL expression: the latest change of a tag as JSON for `taggingOf`, or NULL if the tag history has no change. */
export const lastTagging = (
  repositoryId: string,
  tag: string,
) => `(SELECT json_array(h.at, h.actor, h.key_id, h.previous) FROM tag_history h
    WHERE h.repository_id = ${repositoryId} AND h.tag = ${tag} ORDER BY h.point DESC LIMIT 1)`;

/** Parses a value of `lastTagging`. */
export function taggingOf(text: string | null): Tagging | null {
  if (text === null) return null;
  const [at, subject, key, previous] = JSON.parse(text) as [number, string, string | null, Digest | null];
  return { at, by: actorIn(subject, key), previous };
}
