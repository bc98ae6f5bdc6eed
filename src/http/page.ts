/** Helpers for HTML pages and other documents: security headers, ETags, and the style of simple pages. */
import { html } from 'hono/html';
import { digestOf } from '../oci/digest.ts';
import { matchesEtag } from './content.ts';
import { originOf, type RequestContext } from './context.ts';

/** The `max-age` of HSTS in seconds: one year, which the preload lists of browsers require. */
const HSTS_MAX_AGE = 365 * 24 * 60 * 60;

/** Returns headers that forbid other origins to frame the page or to access its window, and that make browsers use https. */
export function pageHeaders(c: RequestContext): Record<string, string> {
  const isSecure = originOf(c).startsWith('https:');
  return {
    'x-frame-options': 'DENY',
    'cross-origin-opener-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    ...(isSecure ? { 'strict-transport-security': `max-age=${HSTS_MAX_AGE}` } : {}),
  };
}

type Html = ReturnType<typeof html>;

/** A document that is the same for all readers of one origin. */
export interface Fixed {
  bytes: Uint8Array<ArrayBuffer>;
  /** A strong ETag, with quotes. */
  etag: string;
}

async function fixed(text: string): Promise<Fixed> {
  const bytes = new Uint8Array(new TextEncoder().encode(text));
  return { bytes, etag: `"${await digestOf('sha256', bytes)}"` };
}

/** The documents that this isolate has built. Their number is limited, because clients may use any number of host names. */
const documents = new Map<string, Fixed>();
const DOCUMENTS_MAX = 16;

/** Returns the document of a kind for an origin. The isolate builds it at the first request and keeps it in memory. */
export async function once(kind: string, origin: string, make: () => string | Promise<string>): Promise<Fixed> {
  const key = `${kind} ${origin}`;
  const known = documents.get(key);
  if (known) return known;
  const document = await fixed(await make());
  if (documents.size >= DOCUMENTS_MAX) documents.clear();
  documents.set(key, document);
  return document;
}

/** Returns the source expression with which a Content-Security-Policy allows this style and no other. */
export async function styleSource(style: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(style)));
  return `'sha256-${btoa(String.fromCharCode(...hash))}'`;
}

/** Answers with the document, or with 304 if the client has it already. @param about headers that describe the document */
export function answerFixed(c: RequestContext, { bytes, etag }: Fixed, about: Record<string, string>): Response {
  const headers = { ...about, etag };
  if (matchesEtag(c.req.header('if-none-match'), etag)) return new Response(null, { status: 304, headers });
  return new Response(bytes, { headers: { ...headers, 'content-length': String(bytes.byteLength) } });
}

/**
 * A simple page: one sheet of text without navigation. @param style the `style` element, in a form that the page's
 * Content-Security-Policy allows
 */
export function sheetPage(title: string, style: Html, body: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
${style}
</head>
<body>
${body}
</body>
</html>`;
}

/** The style of a simple page, in light and dark colours. */
export const SHEET_STYLE = `
:root { color-scheme: light dark; --paper: #f4f5f7; --sheet: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de;
  --accent: #0b5cad; --on-accent: #fff; --well: #f0f2f5; --warn: #fff4d6; --on-warn: #5c4300; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --sheet: #161b22; --ink: #e6edf3; --soft: #9aa4af;
  --line: #30363d; --accent: #74b4ff; --on-accent: #0b1520; --well: #0d1117; --warn: #3a2d08; --on-warn: #ffe2a0; } }
* { box-sizing: border-box; }
body { margin: 0; padding: clamp(1rem, 8vh, 6rem) 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 37rem; margin: 0 auto; padding: clamp(1.25rem, 5vw, 2.5rem); background: var(--sheet);
  border: 1px solid var(--line); border-radius: 12px; overflow-wrap: anywhere; }
h1 { margin: 0 0 .75rem; font-size: 1.6rem; line-height: 1.25; outline: none; }
p { margin: 0 0 1rem; }
.host { color: var(--soft); font-size: .9rem; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .9rem; }
a { color: var(--accent); }
pre { padding: .75rem .9rem; border-radius: 8px; background: var(--well); overflow-x: auto;
  white-space: pre-wrap; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
`;
