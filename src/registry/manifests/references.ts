/** What manifests reference, read from their documents. Only deletion and restoring need it, so no index is kept for it. */
import type { Env } from '../../env.ts';
import type { Digest } from '../../oci/digest.ts';
import { readText } from '../../storage/objects.ts';

interface Descriptor {
  digest: Digest;
  mediaType?: string;
}

interface Document {
  config?: Descriptor | null;
  layers?: Descriptor[] | null;
  manifests?: Descriptor[] | null;
}

/** A descriptor of a document, with the list that it is in. */
export interface Described {
  child: Digest;
  list: 'config' | 'layers' | 'manifests';
  type: string | null;
}

/** @param text a document that was validated when it was pushed */
export function descriptorsIn(text: string): Described[] {
  const { config, layers, manifests } = JSON.parse(text) as Document;
  const of = (list: Described['list'], descriptors: Descriptor[]) =>
    descriptors.map(({ digest, mediaType }) => ({ child: digest, list, type: mediaType ?? null }));
  return [...of('config', config ? [config] : []), ...of('layers', layers ?? []), ...of('manifests', manifests ?? [])];
}

/** Columns of a manifest's row that lead to its references. `inline`: the digests that a document in the row references (JSON). */
export interface DocumentRow {
  digest: Digest;
  inline: string | null;
  object_key: string | null;
}

/** SQL column `inline`: the digests that the document in `content` references. The database parses it, so that it is not transferred. */
export const INLINE_REFERENCES = `(SELECT json_group_array(DISTINCT d) FROM (
    SELECT content ->> '$.config.digest' AS d
    UNION ALL SELECT value ->> 'digest' FROM json_each(content, '$.layers')
    UNION ALL SELECT value ->> 'digest' FROM json_each(content, '$.manifests')) WHERE d IS NOT NULL) AS inline`;

/** Digests that a document references; `null` if its object is gone. */
export async function referencesOf(env: Pick<Env, 'BLOBS'>, { inline, object_key }: DocumentRow): Promise<Digest[] | null> {
  if (object_key === null) return inline === null ? null : (JSON.parse(inline) as Digest[]);
  const text = object_key === '' ? null : await readText(env, object_key);
  return text === null ? null : [...new Set(descriptorsIn(text).map(({ child }) => child))];
}
