/**
 * A strict JSON parser for documents that all readers must understand in the same way. It refuses input that `JSON.parse`
 * accepts: repeated keys, very deep nesting, very many members, invalid UTF-8 and a byte order mark.
 */

/** The maximum number of nested levels. Real manifests have fewer. SQLite's JSON functions accept 1,000. */
const MAX_DEPTH = 100;

/**
 * The maximum number of brackets, colons and commas. The CPU time of parsing grows with this number, not with the length: a
 * manifest of 8 MiB may consist of one long annotation, but a million members would take most of a second.
 */
const MAX_STRUCTURE = 120_000;

/** Parses a document. @throws SyntaxError with a message for the client */
export function parseStrictJson(bytes: Uint8Array): { text: string; value: unknown } {
  const text = decode(bytes);
  const outline = outlineOf(text);
  if (outline.depth > MAX_DEPTH) throw new SyntaxError(`nested deeper than ${MAX_DEPTH} levels`);
  if (outline.structure > MAX_STRUCTURE) throw new SyntaxError(`more than ${MAX_STRUCTURE} brackets, colons and commas`);
  const value: unknown = JSON.parse(text);
  // JSON.parse keeps only one of several equal keys. So if a key is repeated, the text has more members than the parsed value.
  if (outline.members !== countMembers(value)) throw new SyntaxError(`an object repeats a key${repeatedKey(text)}`);
  return { text, value };
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError('not UTF-8', { cause });
  }
}

/** Counts the members, the nested levels and the structural characters of a JSON text. Makes one pass and skips strings. */
function outlineOf(text: string): { members: number; depth: number; structure: number } {
  let members = 0;
  let opened = 0;
  let commas = 0;
  let level = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === 0x22) at = endOfString(text, at);
    else if (char === 0x3a) members++;
    else if (char === 0x2c) commas++;
    else if (char === 0x7b || char === 0x5b) {
      opened++;
      depth = Math.max(depth, ++level);
    } else if (char === 0x7d || char === 0x5d) level--;
  }
  return { members, depth, structure: members + opened + commas };
}

/** Returns the index of the closing quote of the string that opens at `start`, or the length of the text if there is none. */
export function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let escapes = 0;
    while (text.charCodeAt(quote - 1 - escapes) === 0x5c) escapes++;
    if (escapes % 2 === 0) return quote;
  }
  return text.length;
}

/** Finds a repeated key, for the error message. @returns for example `: "layers"` */
function repeatedKey(text: string): string {
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '{') open.push(new Set());
    else if (char === '[') open.push(null);
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const end = endOfString(text, at);
      const isKey = /^\s*:/.test(text.slice(end + 1, end + 100));
      const key = isKey ? (JSON.parse(text.slice(at, end + 1)) as string) : '';
      if (isKey && open.at(-1)?.has(key)) return `: ${JSON.stringify(key.slice(0, 100))}`;
      if (isKey) open.at(-1)?.add(key);
      at = end;
    }
  }
  return '';
}

function countMembers(root: unknown): number {
  let members = 0;
  const pending: unknown[] = [root];
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== 'object' || value === null) continue;
    const children: unknown[] = Object.values(value);
    if (!Array.isArray(value)) members += children.length;
    for (const child of children) pending.push(child);
  }
  return members;
}

/** Returns the number of bytes of a value as JSON in UTF-8. */
export function jsonBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}

/**
 * Parses a text that should be JSON. @returns `null` if the text is no JSON. Schemas then report an error, because none accepts
 * `null`
 */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
