/** A strict parser of `multipart/byteranges` (RFC 9110, 14.6; RFC 2046, 5.1.1). */
import type { Env } from '../../src/env.ts';

export interface Part {
  headers: Record<string, string>;
  body: Uint8Array;
}

export function partsOf(contentType: string | null, bytes: Uint8Array): Part[] {
  const boundary = /^multipart\/byteranges; boundary=([^;"\s]+)$/.exec(contentType ?? '')?.[1];
  if (!boundary) throw new Error(`${contentType} is no multipart/byteranges`);
  // The text has one character per byte, so that positions in it are byte positions.
  const text = new TextDecoder('latin1').decode(bytes);
  const parts: Part[] = [];
  let at = 0;
  for (let line = `--${boundary}\r\n`; text.startsWith(line, at); line = `\r\n--${boundary}\r\n`) {
    const begin = at + line.length;
    const end = text.indexOf('\r\n\r\n', begin);
    const headers = Object.fromEntries(
      text
        .slice(begin, end)
        .split('\r\n')
        .map((header) => [header.slice(0, header.indexOf(':')).toLowerCase(), header.slice(header.indexOf(':') + 1).trim()]),
    );
    const [first, last] = (/^bytes (\d+)-(\d+)\/\d+$/.exec(headers['content-range'] ?? '') ?? []).slice(1).map(Number);
    if (first === undefined || last === undefined) throw new Error('a part without its range');
    at = end + 4 + (last - first + 1);
    parts.push({ headers, body: bytes.slice(end + 4, at) });
  }
  if (text.slice(at) !== `\r\n--${boundary}--\r\n`) throw new Error('the last part is not the end');
  return parts;
}

/** Returns a bucket that answers the first `reads` reads and then fails. */
export function failingAfter(env: Env, reads: number): Env {
  let done = 0;
  const BLOBS = new Proxy(env.BLOBS, {
    get(target, name) {
      const call = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      if (name !== 'get') return call;
      return (...args: unknown[]) =>
        done++ < reads ? call.apply(target, args) : Promise.reject(new Error('the bucket is gone'));
    },
  });
  return { ...env, BLOBS };
}
