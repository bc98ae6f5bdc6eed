/**
 * The request conditions `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2). They contain the digests that
 * the request's tag must name, or must not name.
 */
import { Refusal } from '../vocabulary/refusal.ts';

/** The digests of one header, or `*` for any digest. */
type Named = '*' | string[];

export interface Condition {
  match: Named | null;
  noneMatch: Named | null;
}

/** The maximum number of digests in one header. */
const MAX_NAMED = 100;

/** One element of a list of entity tags (RFC 9110, section 8.8.3). An element may be empty (section 5.6.1.2). */
const ELEMENT = /[ \t]*(?:(?<weak>W\/)?"(?<opaque>[!#-~\x80-\xff]*)"[ \t]*)?(?:,|$)/y;

/** Parses both headers. @returns `null` if the request has neither header @throws parameter-invalid if a header is malformed */
export function parseCondition(ifMatch: string | undefined, ifNoneMatch: string | undefined): Condition | null {
  if (ifMatch === undefined && ifNoneMatch === undefined) return null;
  return { match: parseNamed('If-Match', ifMatch), noneMatch: parseNamed('If-None-Match', ifNoneMatch) };
}

/**
 * Parses one header. `If-Match` never matches weak entity tags, so they are left out. `If-None-Match` ignores whether a tag is
 * weak (8.8.3.2).
 */
function parseNamed(header: 'If-Match' | 'If-None-Match', text: string | undefined): Named | null {
  if (text === undefined) return null;
  if (text.trim() === '*') return '*';
  const tags = tagsIn(text);
  if (tags === null || tags.length === 0 || tags.length > MAX_NAMED) {
    throw new Refusal('parameter-invalid', {
      message: `${header} must be "*" or up to ${MAX_NAMED} digests in quotes, separated by commas`,
    });
  }
  return tags.filter(({ weak }) => !weak || header === 'If-None-Match').map(({ opaque }) => opaque);
}

/** Parses a list of entity tags. @returns `null` if the text is not such a list */
function tagsIn(text: string): { weak: boolean; opaque: string }[] | null {
  const tags: { weak: boolean; opaque: string }[] = [];
  for (let at = 0; at < text.length; at = ELEMENT.lastIndex) {
    ELEMENT.lastIndex = at;
    const groups = ELEMENT.exec(text)?.groups;
    if (!groups) return null;
    if (groups.opaque !== undefined) tags.push({ weak: groups.weak !== undefined, opaque: groups.opaque });
  }
  return tags;
}
