/** SQL that tells tags that belong to another manifest by their name (`oci/attachment.ts`) from tags of images. */

/** SQL: `sha256:<first 64 digits>` of the tag `sha256-<first 64 digits>.sig`. */
const digestPrefixIn = (name: string) => `substr(${name}, 1, 6) || ':' || substr(${name}, 8, 64)`;

/**
 * SQL condition: the tag `name`, which names `digest`, belongs to another manifest of the repository.
 * @param subjects tables in which that manifest is looked up
 */
export function isAttached(
  { name, digest, repositoryId }: { name: string; digest: string; repositoryId: string },
  subjects: ('manifests' | 'trashed_manifests')[],
): string {
  const prefix = digestPrefixIn(name);
  // A sha512 digest has 128 digits, of which the tag has 64. All hex digits sort before "g".
  const found = subjects.map(
    (table) => `EXISTS (SELECT 1 FROM ${table} s WHERE s.repository_id = ${repositoryId}
      AND s.digest >= ${prefix} AND s.digest < ${prefix} || 'g' AND s.digest <> ${digest})`,
  );
  return `(length(${name}) >= 71 AND substr(${name}, 1, 7) IN ('sha256-', 'sha512-')
    AND substr(${name}, 72) IN ('', '.sig', '.att', '.sbom') AND (${found.join(' OR ')}))`;
}
