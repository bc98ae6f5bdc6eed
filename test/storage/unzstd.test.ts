/** Unpacking Zstandard that the encoder of the runtime has made, and data that are damaged or hostile. */
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { WINDOW_MAX, ZstdError } from '../../src/oci/zstd-frames.ts';
import { unzstd } from '../../src/storage/unzstd.ts';

/** The numbers of parameters of the encoder (zstd.h, ZSTD_cParameter). */
const [LEVEL, CHECKSUM] = [100, 201];

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param chunk the number of bytes that are passed at once */
async function unpacked(bytes: Uint8Array, chunk = 65_536): Promise<Uint8Array> {
  let at = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at + chunk));
      at += chunk;
    },
  });
  const parts: Uint8Array[] = [];
  for await (const part of unzstd(stream)) parts.push(part.slice());
  return concat(parts);
}

const same = (one: Uint8Array, other: Uint8Array) => one.length === other.length && one.every((byte, n) => byte === other[n]);

let seed = 1;
const random = (below: number) => {
  seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
  return seed % below;
};
const made = (length: number, next: () => number) => Uint8Array.from({ length }, next);
const bytesOf = (text: string) => new TextEncoder().encode(text);

const SAMPLES: Record<string, Uint8Array> = {
  nothing: new Uint8Array(),
  'one byte': bytesOf('x'),
  zeros: new Uint8Array(1_000_000),
  text: bytesOf(Array.from({ length: 40_000 }, (_, n) => `word${random(2000)}${n % 13 ? ' ' : '\n'}`).join('')),
  noise: made(150_000, () => random(256)),
  'two symbols': made(150_000, () => random(2) * 7),
  'one symbol mostly': made(150_000, () => (random(100) < 97 ? 1 : random(256))),
};

function packed(bytes: Uint8Array, level: number, more: Record<number, number> = {}): Uint8Array {
  return zstdCompressSync(bytes, { params: { [LEVEL]: level, ...more } });
}

describe.each([1, 3, 9, 19])('at level %i', (level) => {
  test.each(Object.keys(SAMPLES))('%s comes back', async (name) => {
    const bytes = SAMPLES[name] as Uint8Array;
    const params = { [CHECKSUM]: level === 1 ? 0 : 1 };
    expect(same(await unpacked(packed(bytes, level, params)), bytes)).toBe(true);
  });
});

test('chunks of any size, frames behind each other, and frames without content are read', async () => {
  const text = (SAMPLES.text as Uint8Array).subarray(0, 20_000);
  const skipped = Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
  const empty = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0);
  const all = concat([empty, packed(text, 3), skipped, packed(bytesOf('x'), 1), skipped, empty]);
  for (const chunk of [1, 2, 19, 4096, 1_000_000])
    expect(same(await unpacked(all, chunk), concat([text, bytesOf('x')])), String(chunk)).toBe(true);
});

test('a window beyond the limit is refused in words, before memory is taken for it', async () => {
  const frame = (descriptor: number) => Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, descriptor, 1, 0, 0);
  expect(await unpacked(frame(13 << 3))).toEqual(new Uint8Array());
  for (const descriptor of [(13 << 3) + 1, 17 << 3, 0xff])
    await expect(unpacked(frame(descriptor))).rejects.toThrow(`those of up to ${WINDOW_MAX} bytes`);
  const single = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x70, 1, 0, 0);
  await expect(unpacked(single)).rejects.toThrow(/a window of \d{10,} bytes/);
});

test.each([
  ['a dictionary', [0x28, 0xb5, 0x2f, 0xfd, 1, 0, 5, 1, 0, 0]],
  ['a reserved bit', [0x28, 0xb5, 0x2f, 0xfd, 8, 0, 1, 0, 0]],
  ['a reserved type of block', [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 7, 0, 0]],
  ['a block that is too large', [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0xfc, 0xff, 0xff]],
  ['another magic number', [0x28, 0xb5, 0x2f, 0xfe, 0, 0, 1, 0, 0]],
])('%s is refused', async (_, bytes) => {
  await expect(unpacked(Uint8Array.from(bytes))).rejects.toThrow(ZstdError);
});

test('data that end early are refused, wherever they end', async () => {
  const whole = packed(SAMPLES.text as Uint8Array, 3).subarray(0, 60_000);
  for (const length of [1, 4, 5, 8, 100, 5000, whole.length - 1])
    await expect(unpacked(whole.subarray(0, length)), String(length)).rejects.toThrow(ZstdError);
});

test('damaged data are refused or unpack to something else, and cause no other error', { tags: 'slow' }, async () => {
  for (const name of ['text', 'one symbol mostly']) {
    const whole = packed((SAMPLES[name] as Uint8Array).subarray(0, 60_000), 9);
    for (let n = 0; n < 300; n++) {
      const bytes = whole.slice();
      for (let m = 0; m <= n % 3; m++) bytes[n < 150 ? random(60) : random(bytes.length)] = random(256);
      const outcome = await unpacked(bytes).catch((error: unknown) => error);
      if (outcome instanceof Uint8Array) expect(outcome.length).toBeLessThan(10_000_000);
      else expect(outcome).toBeInstanceOf(ZstdError);
    }
  }
});

test('a stream that is not read to its end is cancelled', async () => {
  let isCancelled = false;
  const bytes = packed(SAMPLES.noise as Uint8Array, 1);
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(bytes),
    cancel: () => {
      isCancelled = true;
    },
  });
  for await (const part of unzstd(stream)) if (part.length > 0) break;
  expect(isCancelled).toBe(true);
});
