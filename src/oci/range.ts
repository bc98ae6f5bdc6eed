/** Byte ranges: `Range` of a download (RFC 9110, section 14) and `Content-Range` of an upload chunk (distribution-spec). */
import { RegistryError } from './errors.ts';

/** Bytes `offset` to `offset + length - 1`. */
export interface ByteRange {
  offset: number;
  length: number;
}

const ONE_RANGE = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/i;

/**
 * The part of a content of `size` bytes that a `Range` header asks for; `null` where the whole is to be sent: no header,
 * another unit, a syntax we do not know, or several ranges (RFC 9110, 14.2: a server may ignore the field).
 * @throws SIZE_INVALID (416) with the size in `Content-Range`
 */
export function requestedRange(header: string | null | undefined, size: number): ByteRange | null {
  const match = header ? ONE_RANGE.exec(header.trim()) : null;
  if (!match) return null;
  const [, first, last, suffix] = match;
  if (first === undefined) {
    const length = Math.min(Number(suffix), size);
    return length > 0 ? { offset: size - length, length } : unsatisfiable(size);
  }
  const offset = Number(first);
  if (last && Number(last) < offset) return unsatisfiable(size);
  const end = last ? Math.min(Number(last), size - 1) : size - 1;
  return offset < size ? { offset, length: end - offset + 1 } : unsatisfiable(size);
}

function unsatisfiable(size: number): never {
  throw new RegistryError('SIZE_INVALID', {
    status: 416,
    message: `the range lies outside the ${size} bytes of the content`,
    headers: { 'content-range': `bytes */${size}` },
  });
}

export function contentRange({ offset, length }: ByteRange, size: number): string {
  return `bytes ${offset}-${offset + length - 1}/${size}`;
}

/** `<start>-<end>`, both inclusive. Some clients prefix the unit and some append the size: accepted where unambiguous. */
const CHUNK = /^(?:bytes[ =])?(\d{1,16})-(\d{1,16})(?:\/(?:(\d{1,16})|\*))?$/;

/** The bytes a chunk claims to be, `null` where it claims nothing. @throws BLOB_UPLOAD_INVALID */
export function parseChunkRange(header: string | null | undefined): ByteRange | null {
  if (header === undefined || header === null) return null;
  const match = CHUNK.exec(header.trim());
  const [first, last, size] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3] ?? Infinity)];
  if (match && last >= first && last < size && Number.isSafeInteger(last)) return { offset: first, length: last - first + 1 };
  throw new RegistryError('BLOB_UPLOAD_INVALID', { message: 'Content-Range is <first byte>-<last byte>' });
}
