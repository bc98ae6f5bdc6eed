/** What manifests point at, from their documents: no index is kept for the one time it is needed, when they are deleted. */
import type { Env } from '../../env.ts';
import type { Digest } from '../../oci/digest.ts';
import { readText } from '../../storage/objects.ts';

interface Document {
  config?: { digest?: string };
  layers?: { digest?: string }[];
  manifests?: { digest?: string }[];
}

/** Digests of blobs and manifests, each once. */
export function referencesIn(text: string): string[] {
  const { config, layers, manifests } = JSON.parse(text) as Document;
  const descriptors = [config, layers, manifests].flat();
  return [...new Set(descriptors.flatMap((descriptor) => descriptor?.digest ?? []))];
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
  return text === null ? null : referencesIn(text);
}
