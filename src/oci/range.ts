/** Byte ranges: `Range` of a download (RFC 9110, section 14) and `Content-Range` of an upload chunk (distribution-spec). */
import { Refusal } from '../vocabulary/refusal.ts';

/** Bytes `offset` to `offset + length - 1`. */
export interface ByteRange {
  offset: number;
  length: number;
}

const RANGE = /^(?:(\d+)-(\d*)|-(\d+))$/;

/** `backwards`: the end is before the start. `null`: the text is not a range. */
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
 * The part of `size` bytes that a `Range` header asks for. `null`: send everything, because there is no header, or it has
 * another unit, an unknown syntax or several ranges (RFC 9110, 14.2: a server may ignore the field).
 * @throws range-not-satisfiable with the size in `Content-Range`
 */
export function requestedRange(header: string | null | undefined, size: number): ByteRange | null {
  const range = rangeOf(/^bytes=(.*)$/i.exec(header?.trim() ?? '')?.[1] ?? '', size);
  return range === 'outside' || range === 'backwards' ? unsatisfiable(size) : range;
}

/** Ranges of one header that are read, and parts of one answer. */
const RANGES_MAX = 1024;
const PARTS_MAX = 32;

/** A gap between two ranges up to this length is sent too, because a separate part would cost as many bytes. */
const NEAR = 128;

/**
 * The same for several ranges, in ascending order. Ranges outside of the content are left out, and ranges that overlap or are
 * close are joined, so no byte is sent twice. A header with more than 32 ranges, or with anything else in it, is ignored.
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

/** @param sorted by their starts */
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

/** `<start>-<end>`, both inclusive. Some clients prefix the unit and some append the size; both are accepted. */
const CHUNK = /^(?:bytes(?: +|=))?(\d{1,16})-(\d{1,16})(?:\/(?:(\d{1,16})|\*))?$/i;

/** The bytes that a chunk says it has; `null`: it has no `Content-Range`. @throws chunk-out-of-order */
export function parseChunkRange(header: string | null | undefined): ByteRange | null {
  if (header === undefined || header === null) return null;
  const match = CHUNK.exec(header.trim());
  const [first, last, size] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3] ?? Infinity)];
  if (match && last >= first && last < size && Number.isSafeInteger(last)) return { offset: first, length: last - first + 1 };
  throw new Refusal('chunk-out-of-order', { message: 'Content-Range must be <first byte>-<last byte>' });
}
