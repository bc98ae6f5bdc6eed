/**
 * Leads from a reference that somebody pastes into the address bar, `/acme/api:v1` or `/acme/api@sha256:…`, to its page. Only
 * the grammar of the text decides, so the answer is the same whether or not the thing exists.
 */
import { isDigest } from '../../oci/digest.ts';
import { isRepositoryName } from '../../oci/name.ts';
import { isTag } from '../../oci/reference.ts';
import { imageAt, repositoryAt, tagAt } from './parts/addresses.ts';

/** Returns the path of the page of a reference, or `null` if the text is no reference. */
export function pageOfReference(text: string): string | null {
  const [named = '', digest] = text.split('@', 2);
  const [, name = '', tag] = /^(.*?)(?::([^/:]*))?$/.exec(named) ?? [];
  // A single word without a tag or digest might be anything, so it does not count as a reference.
  if (!isRepositoryName(name) || (named === name && digest === undefined && !name.includes('/'))) return null;
  if (digest !== undefined) return isDigest(digest) ? imageAt(name, digest) : null;
  if (tag !== undefined) return isTag(tag) ? tagAt(name, tag) : null;
  return repositoryAt(name);
}
