/** SQL: tags that belong to another manifest by their name (`oci/attachment.ts`), for statements that tell them from tags of images. */

const beginningIn = (name: string) => `substr(${name}, 1, 6) || ':' || substr(${name}, 8, 64)`;

/**
 * An expression: whether the tag `name`, which names `digest`, belongs to another manifest of the repository.
 * @param subjects tables in which that one is looked for
 */
export function isAttached(
  { name, digest, repositoryId }: { name: string; digest: string; repositoryId: string },
  subjects: ('manifests' | 'trashed_manifests')[],
): string {
  const beginning = beginningIn(name);
  // Digits of a digest are smaller than "g": a tag has up to 64 of them, and a sha512 digest 128.
  const found = subjects.map(
    (table) => `EXISTS (SELECT 1 FROM ${table} s WHERE s.repository_id = ${repositoryId}
      AND s.digest >= ${beginning} AND s.digest < ${beginning} || 'g' AND s.digest <> ${digest})`,
  );
  return `(length(${name}) >= 71 AND substr(${name}, 1, 7) IN ('sha256-', 'sha512-')
    AND substr(${name}, 72) IN ('', '.sig', '.att', '.sbom') AND (${found.join(' OR ')}))`;
}
