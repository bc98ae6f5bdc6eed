/** Shows a JSON text with highlighted names and with digests as links. The text itself is not changed. */
import type { Child, FC } from 'hono/jsx';
import { isDigest } from '../../../oci/digest.ts';
import { visible } from '../parts/text.tsx';

/** Matches a string in JSON, with the colon after it if it is the name of a member. */
const STRINGS = /("(?:[^"\\]|\\.)*")(\s*:)?/g;

/** The maximum number of strings that become HTML elements. The rest of a longer text is shown plain. */
const ELEMENTS_MAX = 1500;

/** @param hrefOf returns the address of the page of a digest, or `null` if there is none */
export const Json: FC<{ text: string; hrefOf: (digest: string) => string | null }> = ({ text, hrefOf }) => {
  const parts: Child[] = [];
  let at = 0;
  let elements = 0;
  for (const match of text.matchAll(STRINGS)) {
    const [, string = '', colon] = match;
    const inside = string.slice(1, -1);
    const href = isDigest(inside) ? hrefOf(inside) : null;
    if (colon === undefined && href === null) continue;
    if (++elements > ELEMENTS_MAX) break;
    parts.push(visible(text.slice(at, match.index), text.length));
    parts.push(href === null ? <span class="name">{visible(string, text.length)}</span> : <a href={href}>{string}</a>);
    at = match.index + string.length;
  }
  parts.push(visible(text.slice(at), text.length));
  return (
    <pre class="code" tabindex={0} dir="ltr">
      <code>{parts}</code>
    </pre>
  );
};
