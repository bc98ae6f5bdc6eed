/**
 * Byte ranges: the header `Range` of a download (RFC 9110, section 14) and the header `Content-Range` of an upload chunk
 * (distribution-spec).
 */
import { Refusal } from '../vocabulary/refusal.ts';

/** The bytes from `offset` to `offset + length - 1`. */
export interface ByteRange {
  offset: number;
  length: number;
}

const RANGE = /^(?:(\d+)-(\d*)|-(\d+))$/;

/**
 * Parses one range of content with `size` bytes.
 * @returns `outside` if no byte of the content is in the range; `backwards` if its end is before its start; `null` if the text
 * is no range
 */
function rangeOf(spec: string, size: number): ByteRange | 'outside' | 'backwards' | null {
  const match = RANGE.exec(spec);
  if (!match) return null;
  const [, first, last, suffix] = match;
  if (first === undefined) {
    const length = Math.min(Number(suffix), size);
    return length > 0 ? { offset: size - length, length } : 'outside';
  }
  const offset = Number(first);
  if (last && Number(last) < offset) return 'backwards';
  const end = last ? Math.min(Number(last), size - 1) : size - 1;
  return offset < size ? { offset, length: end - offset + 1 } : 'outside';
}

/**
 * Returns the range that a `Range` header requests. Returns `null` if the whole content must be sent: the header is absent, has
 * another unit than bytes, has an unknown syntax, or has several ranges (RFC 9110, section 14.2: a server may ignore the
 * header).
 * @throws range-not-satisfiable if no byte of the content is in the range, or the range ends before it starts
 */
export function requestedRange(header: string | null | undefined, size: number): ByteRange | null {
  const range = rangeOf(/^bytes=(.*)$/i.exec(header?.trim() ?? '')?.[1] ?? '', size);
  return range === 'outside' || range === 'backwards' ? unsatisfiable(size) : range;
}

/** The maximum number of ranges in a header, and of parts in an answer. */
const RANGES_MAX = 1024;
const PARTS_MAX = 32;

/**
 * Two ranges are sent as one part if at most this many bytes lie between them, because a separate part
 * would cost as many bytes.
 */
const NEAR = 128;

/**
 * Returns the ranges that a `Range` header requests, in ascending order. Ranges outside the content are left out. Ranges that
 * overlap or are close are joined, so that no byte is sent twice. Returns `null` if the whole content must be sent: for the
 * same reasons as in `requestedRange`, if one of several ranges is invalid, or if there are too many ranges or parts.
 * @throws range-not-satisfiable if no range is within the content
 */
export function requestedRanges(header: string | null | undefined, size: number): ByteRange[] | null {
  const list = /^bytes=(.*)$/is.exec(header?.trim() ?? '')?.[1] ?? '';
  const specs = list.split(',', RANGES_MAX + 1).map((spec) => spec.trim());
  if (specs.length > RANGES_MAX) return null;
  const given = specs.filter((spec) => spec !== '');
  if (given.length <= 1) {
    const range = requestedRange(given.length === 1 ? `bytes=${given[0]}` : header, size);
    return range && [range];
  }
  const ranges = given.map((spec) => rangeOf(spec, size));
  if (ranges.some((range) => range === null || range === 'backwards')) return null;
  const within = ranges.filter((range) => typeof range === 'object' && range !== null);
  const joined = join(within.sort((a, b) => a.offset - b.offset));
  if (joined.length === 0) return unsatisfiable(size);
  return joined.length > PARTS_MAX ? null : joined;
}

/** Joins ranges that overlap or are close. @param sorted the ranges in ascending order of their offsets */
function join(sorted: ByteRange[]): ByteRange[] {
  const joined: ByteRange[] = [];
  for (const { offset, length } of sorted) {
    const before = joined.at(-1);
    if (before && offset <= before.offset + before.length + NEAR) {
      before.length = Math.max(before.length, offset + length - before.offset);
    } else joined.push({ offset, length });
  }
  return joined;
}

function unsatisfiable(size: number): never {
  throw new Refusal('range-not-satisfiable', {
    message: `the range lies outside the ${size} bytes of the content`,
    size,
  });
}

export function contentRange({ offset, length }: ByteRange, size: number): string {
  return `bytes ${offset}-${offset + length - 1}/${size}`;
}

/**
 * The grammar of `Content-Range` in a chunk: `<start>-<end>`, both inclusive. A unit before and a size after the range are
 * accepted too, because some clients send them.
 */
const CHUNK = /^(?:bytes(?: +|=))?(\d{1,16})-(\d{1,16})(?:\/(?:(\d{1,16})|\*))?$/i;

/**
 * Returns the bytes of the upload that a chunk contains according to its `Content-Range`, or `null` if the header is absent.
 * @throws chunk-out-of-order if the header is malformed
 */
export function parseChunkRange(header: string | null | undefined): ByteRange | null {
  if (header === undefined || header === null) return null;
  const match = CHUNK.exec(header.trim());
  const [first, last, size] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3] ?? Infinity)];
  if (match && last >= first && last < size && Number.isSafeInteger(last)) return { offset: first, length: last - first + 1 };
  throw new Refusal('chunk-out-of-order', { message: 'Content-Range must be <first byte>-<last byte>' });
}
