/** Tags that belong to a manifest by their name (`oci/attachment.ts`), as the database has them: they go with it. */
import type { Database } from '../../events/batch.ts';
import { tagsAttachableTo } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { HERE } from '../repositories/repositories.ts';

export interface AttachedTag {
  tag: Tag;
  /** What the tag names. */
  digest: Digest;
  subject: Digest;
}

/** Signatures of signatures, and so on: what is deeper stays, as ordinary tags. */
const LEVELS_MAX = 10;

/** Those of a manifest, then those of what they name, level by level; each manifest once. One statement where there are none. */
export async function attachedBelow(env: Database, repository: RepositoryName, root: Digest): Promise<AttachedTag[][]> {
  const levels: AttachedTag[][] = [];
  const seen = new Set<Digest>([root]);
  let subjects: Digest[] = [root];
  while (subjects.length > 0 && levels.length < LEVELS_MAX) {
    const names = subjects.flatMap((subject) => tagsAttachableTo(subject).map((tag) => ({ tag, subject })));
    const { results } = await env.DB.prepare(
      `SELECT t.name AS tag, t.digest, value ->> 'subject' AS subject FROM json_each(?2)
       CROSS JOIN tags t ON t.repository_id = ${HERE} AND t.name = value ->> 'tag' AND t.digest <> value ->> 'subject'`,
    )
      .bind(repository, JSON.stringify(names))
      .all<AttachedTag>();
    const level = results.filter(({ digest }) => digest !== root);
    if (level.length > 0) levels.push(level);
    subjects = [...new Set(level.map(({ digest }) => digest))].filter((digest) => !seen.has(digest));
    for (const digest of subjects) seen.add(digest);
  }
  return levels;
}
