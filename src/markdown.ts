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

/** A text in Markdown with what it renders to. */
export interface Rendered {
  source: string;
  html: string;
}

/** The maximum number of bytes that a text may render to. A table of 16 KB can render to 670 KB. */
const HTML_MAX_BYTES = 256 * 1024;

/** Lists and quotations may be nested as deep as this; deeper ones are shown as text. */
const MAX_NESTING = 20;

/** The level of the first heading: a page has headings above the text. */
const FIRST_HEADING = 3;
const LAST_HEADING = 6;

const LINK = /^(?:https?:\/\/|mailto:)[^\s]/i;

/** Links are from strangers: search engines do not count them, and the other host does not become the opener of a page. */
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

/** Moves headings below those of the page, and gives cells of tables classes in place of `style`, which the CSP forbids. */
function change(token: Token): void {
  if (token.type === 'heading_open' || token.type === 'heading_close') {
    token.tag = `h${Math.min(Number(token.tag.slice(1)) + FIRST_HEADING - 1, LAST_HEADING)}`;
  }
  if (token.type === 'table_open') token.attrPush(['tabindex', '0']);
  const alignment = /^text-align:(left|right|center)$/.exec(String(token.attrGet('style') ?? ''))?.[1];
  token.attrs = token.attrs?.filter(([name]) => name !== 'style') ?? null;
  if (alignment !== undefined) token.attrPush(['class', alignment]);
}

/** Replaces each image by a link to it, or, within a link, by its alternative text. */
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

/** Control characters, and characters that change the direction of the text after them. Line ends and tabs stay. */
const HIDDEN = /[^\P{Cc}\n\t]|[\u061c\u202a-\u202e\u2066-\u2069]/gu;

/** Code that is wider than the page scrolls, so the keyboard must reach it. A `<` of the text itself is always escaped. */
const SCROLLING = '<pre tabindex="0">';

/**
 * Renders a text.
 * @param field the field of the request that has the text
 * @param most the maximum number of bytes of the result
 * @throws request-invalid if the result is too long
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

/** The maximum number of characters that `asText` shows. */
const TEXT_MAX = 40_000;

/** A text as it is, for one that cannot be rendered. */
export function asText(source: string): string {
  return `${SCROLLING}${parser.utils.escapeHtml(source.slice(0, TEXT_MAX))}</pre>`;
}
