/**
 * Strict JSON for documents that several readers must understand alike: one text, one meaning.
 * Refuses what `JSON.parse` lets through: invalid UTF-8, a byte order mark, repeated keys, nesting and members without end.
 */

/** Deep enough for any manifest; SQLite's JSON functions stop at 1,000, our own recursion nowhere comes near. */
const MAX_DEPTH = 100;

/**
 * Brackets, colons and commas. What parsing costs grows with them, not with the length: a manifest of 8 MiB may be one long
 * annotation, but not a million members, which would take most of a second of CPU.
 */
const MAX_STRUCTURE = 120_000;

/** @throws SyntaxError with a reason fit to be shown */
export function parseStrictJson(bytes: Uint8Array): { text: string; value: unknown } {
  const text = decode(bytes);
  const outline = outlineOf(text);
  if (outline.depth > MAX_DEPTH) throw new SyntaxError(`nested deeper than ${MAX_DEPTH} levels`);
  if (outline.structure > MAX_STRUCTURE) throw new SyntaxError(`more than ${MAX_STRUCTURE} brackets, colons and commas`);
  const value: unknown = JSON.parse(text);
  // A repeated key collapses when it is parsed: then the text has more members than the value.
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

/** Counts what stands outside of strings, in one pass without a stack. */
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

/** The index of the quote that closes the string opened at `start`, or the end of the text. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let escapes = 0;
    while (text.charCodeAt(quote - 1 - escapes) === 0x5c) escapes++;
    if (escapes % 2 === 0) return quote;
  }
  return text.length;
}

/** `: "layers"`, for the message about valid JSON in which a key is repeated. */
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

/** How long a value is as JSON in UTF-8. */
export function jsonBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}

/** The value of a text that should be JSON; `null` if it is not, which no schema accepts. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
