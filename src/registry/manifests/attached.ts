/** Finds the tags that belong to a manifest by their name (`oci/attachment.ts`). They are deleted with it. */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { tagsAttachableTo } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';

export interface AttachedTag {
  tag: Tag;
  /** The digest that the tag names. */
  digest: Digest;
  subject: Digest;
}

/** Depth of signatures of signatures. What is deeper stays, as ordinary tags. */
const LEVELS_MAX = 10;

/** The tags of a manifest, then those of what they name, level by level, each manifest once. One query if there are none. */
export async function attachedBelow(env: Database, repository: RepositoryName, root: Digest): Promise<AttachedTag[][]> {
  const levels: AttachedTag[][] = [];
  const seen = new Set<Digest>([root]);
  let subjects: Digest[] = [root];
  while (subjects.length > 0 && levels.length < LEVELS_MAX) {
    const names = subjects.flatMap((subject) => tagsAttachableTo(subject).map((tag) => ({ tag, subject })));
    const { results } = await prepare(
      env,
      `SELECT t.name AS tag, t.digest, value ->> 'subject' AS subject FROM json_each(:names)
       CROSS JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = value ->> 'tag' AND t.digest <> value ->> 'subject'`,
      { repository, names },
    ).all<AttachedTag>();
    const level = results.filter(({ digest }) => digest !== root);
    if (level.length > 0) levels.push(level);
    subjects = [...new Set(level.map(({ digest }) => digest))].filter((digest) => !seen.has(digest));
    for (const digest of subjects) seen.add(digest);
  }
  return levels;
}
