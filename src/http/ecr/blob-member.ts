/**
 * Takes a long member in base64 out of a JSON body, without making a string of it or a copy. Such a body may have 28 MB, and an
 * isolate has 128 MB for all its requests.
 */
import { endOfString } from '../../oci/json.ts';

/** The maximum number of bytes of the body without the member. */
const REST_MAX_BYTES = 64 * 1024;

/** The number of bytes that become a string at a time. */
const PIECE_BYTES = 64 * 1024;

/** Decoders of base64 that the runtime has, and the types of TypeScript do not have yet (ECMAScript 2026). */
interface Base64Target {
  setFromBase64(
    text: string,
    options: { lastChunkHandling: 'loose' | 'stop-before-partial' },
  ): { read: number; written: number };
}

interface Taken {
  /** The body with an empty string in place of the member. */
  rest: Uint8Array;
  /** The bytes of the member. They stand in the memory of the body, which is overwritten. */
  bytes: Uint8Array;
}

/**
 * Takes the member `name` out of a body. A body without this member is returned as `rest`.
 * @throws SyntaxError if the member is not base64, or the rest of the body is too long
 */
export function takeBase64(body: Uint8Array, name: string): Taken {
  const start = beginOf(body, name);
  if (start === null) return { rest: short(body), bytes: new Uint8Array() };
  const { end, written } = decode(body, start);
  const [before, after] = [body.subarray(0, start), body.subarray(end)];
  if (before.byteLength + after.byteLength > REST_MAX_BYTES) throw tooLong();
  const rest = new Uint8Array(before.byteLength + after.byteLength);
  rest.set(before);
  rest.set(after, before.byteLength);
  return { rest, bytes: body.subarray(start, start + written) };
}

function short(body: Uint8Array): Uint8Array {
  if (body.byteLength > REST_MAX_BYTES) throw tooLong();
  return body;
}

function tooLong(): SyntaxError {
  return new SyntaxError('a member is too long');
}

/** Returns the place behind the opening quote of the first member with this name whose value is a string. */
function beginOf(body: Uint8Array, name: string): number | null {
  const text = textOf(body.subarray(0, REST_MAX_BYTES));
  const colon = /\s*:\s*"/y;
  for (let open = text.indexOf('"'); open >= 0; ) {
    const close = endOfString(text, open);
    colon.lastIndex = close + 1;
    if (text.slice(open + 1, close) === name && colon.test(text)) return colon.lastIndex;
    open = text.indexOf('"', close + 1);
  }
  return null;
}

/**
 * Decodes the base64 string that begins at `start`, and writes its bytes there. The bytes of a piece never reach beyond it.
 * @returns end the place of the closing quote. written: the number of bytes
 */
function decode(body: Uint8Array, start: number): { end: number; written: number } {
  let [read, written, left, isPadded] = [start, 0, '', false];
  while (read < body.byteLength) {
    const text = textOf(body.subarray(read, read + PIECE_BYTES));
    const quote = text.indexOf('"');
    const isLast = quote >= 0;
    const piece = text.slice(0, isLast ? quote : withoutPartialEscape(text));
    const sent = left + unescaped(piece);
    if ((isPadded && sent !== '') || (piece === '' && !isLast)) throw new SyntaxError('a member is not base64');
    const target = body.subarray(start + written) as unknown as Base64Target;
    const result = target.setFromBase64(sent, { lastChunkHandling: isLast ? 'loose' : 'stop-before-partial' });
    written += result.written;
    if (isLast) return { end: read + quote, written };
    isPadded = sent[result.read - 1] === '=';
    left = sent.slice(result.read);
    read += piece.length;
  }
  throw new SyntaxError('a string has no end');
}

const [UTF_8, LATIN_1] = [new TextDecoder(), new TextDecoder('latin1')];

/** Returns a text with one character for each byte. Of the two decoders, that of UTF-8 takes a third of the time. */
function textOf(bytes: Uint8Array): string {
  const text = UTF_8.decode(bytes);
  return text.length === bytes.byteLength ? text : LATIN_1.decode(bytes);
}

/** The number of characters before an escape sequence that may go on in the next piece. `\\u002f` has the most characters. */
function withoutPartialEscape(text: string): number {
  const at = text.lastIndexOf('\\');
  return at >= 0 && at > text.length - 6 ? at : text.length;
}

/** Some clients write a slash as `\/`, and some other characters as `\u003d`. */
function unescaped(text: string): string {
  return text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text;
}
