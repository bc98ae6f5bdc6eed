/** What manifests point at, from their documents: no index is kept for the one time it is needed, when they are deleted. */
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

/** A descriptor of a document: where it stands decides what it may lead to. */
export interface Described {
  child: Digest;
  list: 'config' | 'layers' | 'manifests';
  type: string | null;
}

/** @param text a document that was checked when it was pushed */
export function descriptorsIn(text: string): Described[] {
  const { config, layers, manifests } = JSON.parse(text) as Document;
  const of = (list: Described['list'], descriptors: Descriptor[]) =>
    descriptors.map(({ digest, mediaType }) => ({ child: digest, list, type: mediaType ?? null }));
  return [...of('config', config ? [config] : []), ...of('layers', layers ?? []), ...of('manifests', manifests ?? [])];
}

/** A manifest's row as far as its document is concerned; `inline`: what a document in the row points at (JSON). */
export interface DocumentRow {
  digest: Digest;
  inline: string | null;
  object_key: string | null;
}

/** For the columns of a SELECT: what the document in `content` points at. The database parses it, so that it need not come. */
export const INLINE_REFERENCES = `(SELECT json_group_array(DISTINCT d) FROM (
    SELECT content ->> '$.config.digest' AS d
    UNION ALL SELECT value ->> 'digest' FROM json_each(content, '$.layers')
    UNION ALL SELECT value ->> 'digest' FROM json_each(content, '$.manifests')) WHERE d IS NOT NULL) AS inline`;

/** `null`: its object is gone. */
export async function referencesOf(env: Pick<Env, 'BLOBS'>, { inline, object_key }: DocumentRow): Promise<string[] | null> {
  if (object_key === null) return inline === null ? null : (JSON.parse(inline) as string[]);
  const text = object_key === '' ? null : await readText(env, object_key);
  return text === null ? null : [...new Set(descriptorsIn(text).map(({ child }) => child))];
}
