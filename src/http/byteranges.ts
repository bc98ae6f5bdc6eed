/** Sends several ranges of one content in one `multipart/byteranges` body (RFC 9110, 14.6). */
import { type ByteRange, contentRange } from '../oci/range.ts';

type Open = (range: ByteRange) => Promise<ReadableStream | Uint8Array>;

interface Multipart {
  contentType: string;
  /** The number of bytes of the whole body. */
  length: number;
  body: ReadableStream;
}

/**
 * Builds the multipart body. The first range is opened before the function returns, so that missing content is still answered
 * with 404. The other ranges are opened one after the other while the body is sent. No range is held in memory.
 * @throws what `open` throws for the first range
 */
export async function multipartOf(
  ranges: [ByteRange, ...ByteRange[]],
  { mediaType, size }: { mediaType: string; size: number },
  open: Open,
): Promise<Multipart> {
  // The boundary is random, so that pushed content cannot contain it and so end a part early.
  const boundary = crypto.randomUUID().replaceAll('-', '');
  const heads = ranges.map((range, n) =>
    encoded(
      `${n === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${mediaType}\r\nContent-Range: ` +
        `${contentRange(range, size)}\r\n\r\n`,
    ),
  );
  const end = encoded(`\r\n--${boundary}--\r\n`);
  const bytesOfHeads = [...heads, end].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const length = ranges.reduce((sum, range) => sum + range.length, bytesOfHeads);
  const first = await open(ranges[0]);
  const { readable, writable } = new FixedLengthStream(length);
  const pump = async () => {
    for (const [n, range] of ranges.entries()) {
      await write(writable, heads[n] as Uint8Array);
      await write(writable, n === 0 ? first : await open(range));
    }
    await write(writable, end);
    await writable.close();
  };
  pump().catch((error: unknown) => writable.abort(error).catch(() => {}));
  return { contentType: `multipart/byteranges; boundary=${boundary}`, length, body: readable };
}

async function write(to: WritableStream, content: ReadableStream | Uint8Array): Promise<void> {
  if (content instanceof ReadableStream) return content.pipeTo(to, { preventClose: true });
  const writer = to.getWriter();
  await writer.write(content);
  writer.releaseLock();
}

function encoded(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
