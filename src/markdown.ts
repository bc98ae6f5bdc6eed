/**
 * Renders Markdown to HTML. A text is rendered once, when it is saved, so a reader never waits for what a writer made slow
 * (invariant 12). The HTML has no attribute or element that the text chooses: HTML in the text is shown as text, links lead to
 * web pages and mail addresses only, and images are links, because a picture of another host would tell it who reads. Pure.
 *
 * The code that saves a text imports this file when it needs it: the tables of the library take time to build, and an isolate
 * that only serves pulls never needs them.
 */
import MarkdownIt, { type MarkdownIt as Parser, type Token } from 'markdown-it';
import { invalidInput } from './vocabulary/refusal.ts';

/** A Markdown text and its HTML. */
export interface Rendered {
  source: string;
  html: string;
}

/** The maximum number of bytes of the HTML. A Markdown table of 16 KB can become 670 KB of HTML. */
const HTML_MAX_BYTES = 256 * 1024;

/** The maximum depth of nested lists and quotations. Deeper ones are shown as text. */
const MAX_NESTING = 20;

/** The level of the first heading of a text. The page that shows the text has higher headings of its own. */
const FIRST_HEADING = 3;
const LAST_HEADING = 6;

const LINK = /^(?:https?:\/\/|mailto:)[^\s]/i;

/**
 * The `rel` attribute of links. The author of a text may be anyone. So search engines must not count the links (`nofollow`,
 * `ugc`), and a linked page gets no access to the window (`noopener`).
 */
const RELATION = 'nofollow noopener ugc';

const parser = parserOf();

function parserOf(): Parser {
  const made = new MarkdownIt('default', { html: false, linkify: false, typographer: false, maxNesting: MAX_NESTING });
  made.validateLink = (url) => LINK.test(url);
  made.core.ruler.push('own_rules', ({ tokens }) => {
    for (const token of tokens) {
      change(token);
      if (token.children) token.children = withoutImages(token.children);
    }
  });
  return made;
}

/**
 * Moves headings below those of the page. Replaces the `style` attribute of table cells by classes, because the
 * Content-Security-Policy forbids `style`.
 */
function change(token: Token): void {
  if (token.type === 'heading_open' || token.type === 'heading_close') {
    token.tag = `h${Math.min(Number(token.tag.slice(1)) + FIRST_HEADING - 1, LAST_HEADING)}`;
  }
  if (token.type === 'table_open') token.attrPush(['tabindex', '0']);
  const alignment = /^text-align:(left|right|center)$/.exec(String(token.attrGet('style') ?? ''))?.[1];
  token.attrs = token.attrs?.filter(([name]) => name !== 'style') ?? null;
  if (alignment !== undefined) token.attrPush(['class', alignment]);
}

/** Replaces each image by a link to it. An image within a link is replaced by its alternative text. */
function withoutImages(tokens: readonly Token[]): Token[] {
  let depth = 0;
  return tokens.flatMap((token) => {
    if (token.type === 'link_open') {
      depth++;
      token.attrSet('rel', RELATION);
    }
    if (token.type === 'link_close') depth--;
    return token.type === 'image' ? linkOf(token, depth > 0) : [token];
  });
}

function linkOf(image: Token, isWithinLink: boolean): Token[] {
  const TokenOf = image.constructor as new (type: string, tag: string, nesting: -1 | 0 | 1) => Token;
  const text = new TokenOf('text', '', 0);
  const address = String(image.attrGet('src') ?? '');
  text.content = image.content || address;
  if (isWithinLink) return [text];
  const open = new TokenOf('link_open', 'a', 1);
  open.attrs = [
    ['href', address],
    ['rel', RELATION],
  ];
  return [open, text, new TokenOf('link_close', 'a', -1)];
}

/**
 * Control characters, and characters that change the direction of the text that follows. They are replaced, because they could
 * hide or disguise text. Line ends and tabs are kept.
 */
const HIDDEN = /[^\P{Cc}\n\t]|[\u061c\u202a-\u202e\u2066-\u2069]/gu;

/**
 * The opening tag of a code block that can be scrolled by keyboard (`tabindex`), because code may be wider than the page.
 * Replacing `<pre>` in the HTML is safe: a `<` of the text itself is always escaped.
 */
const SCROLLING = '<pre tabindex="0">';

/**
 * Renders a Markdown text.
 * @param field the name of the request's field with the text, for the error message
 * @param most the maximum number of bytes of the HTML
 * @throws request-invalid if the HTML is too long
 */
export function rendered(source: string, field: string, most = HTML_MAX_BYTES): Rendered {
  const plain = source.replaceAll('\r\n', '\n').replaceAll(HIDDEN, '\u241b');
  const html = parser.render(plain).replaceAll('<pre>', SCROLLING);
  const bytes = new TextEncoder().encode(html).byteLength;
  if (bytes <= most) return { source, html };
  const message =
    `the text renders to ${bytes} bytes of HTML, and up to ${most} are allowed: nothing was saved. ` +
    'Shorten its tables and lists';
  throw invalidInput({ at: field, message });
}

/** The maximum number of characters of the result of `asText`. */
const TEXT_MAX = 40_000;

/** Returns HTML that shows a text without rendering its Markdown. Used for texts whose HTML would be too long. */
export function asText(source: string): string {
  return `${SCROLLING}${parser.utils.escapeHtml(source.slice(0, TEXT_MAX))}</pre>`;
}
