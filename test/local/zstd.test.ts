/** Unpacking Zstandard that the encoder of Node has made, and data that are damaged or hostile. */
import { constants, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { WINDOW_MAX, ZstdError, ZstdUnpacker } from '../../src/oci/zstd.ts';

/** @param chunk the number of bytes that are passed at once */
function unpacked(bytes: Uint8Array, chunk = 65_536): Buffer {
  const unpacker = new ZstdUnpacker();
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += chunk) {
    for (const part of unpacker.push(bytes.subarray(at, at + chunk))) parts.push(Buffer.from(part));
  }
  unpacker.end();
  return Buffer.concat(parts);
}

let seed = 1;
const random = (below: number) => {
  seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
  return seed % below;
};
const made = (length: number, next: () => number) => Buffer.from(Array.from({ length }, next));

const SAMPLES: Record<string, Buffer> = {
  nothing: Buffer.alloc(0),
  'one byte': Buffer.from('x'),
  zeros: Buffer.alloc(1_000_000),
  text: Buffer.from(Array.from({ length: 40_000 }, (_, n) => `word${random(2000)}${n % 13 ? ' ' : '\n'}`).join('')),
  noise: made(150_000, () => random(256)),
  'two symbols': made(150_000, () => random(2) * 7),
  'one symbol mostly': made(150_000, () => (random(100) < 97 ? 1 : random(256))),
};

function packed(bytes: Buffer, level: number, more: Record<number, number> = {}): Buffer {
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level, ...more } });
}

describe.each([-5, 1, 3, 9, 19])('at level %i', (level) => {
  test.each(Object.keys(SAMPLES))('%s comes back', (name) => {
    const bytes = SAMPLES[name] as Buffer;
    const params = { [constants.ZSTD_c_checksumFlag]: level > 0 ? 1 : 0 };
    expect(unpacked(packed(bytes, level, params)).equals(bytes)).toBe(true);
  });
});

test('chunks of any size, frames behind each other, and frames without content are read', () => {
  const text = SAMPLES.text as Buffer;
  const skipped = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  const empty = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  const all = Buffer.concat([empty, packed(text, 3), skipped, packed(Buffer.from('x'), 1), skipped, empty]);
  for (const chunk of [1, 2, 19, 4096, 1_000_000]) {
    expect(unpacked(all, chunk).equals(Buffer.concat([text, Buffer.from('x')])), String(chunk)).toBe(true);
  }
});

test('matches reach back over a whole window, and over bytes that were moved', () => {
  const block = made(300_000, () => random(256));
  const bytes = Buffer.concat(Array.from({ length: 12 }, (_, n) => Buffer.concat([block, Buffer.from(`block ${n}`)])));
  const params = { [constants.ZSTD_c_windowLog]: 19 };
  const small = packed(bytes, 3, params);
  expect(small.length).toBeLessThan(bytes.length / 5);
  expect(unpacked(small).equals(bytes)).toBe(true);
});

test('a window beyond the limit is refused in words, before memory is taken for it', () => {
  const frame = (descriptor: number) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, descriptor, 1, 0, 0]);
  expect(unpacked(frame(13 << 3))).toEqual(Buffer.alloc(0));
  for (const descriptor of [(13 << 3) + 1, 17 << 3, 0xff]) {
    expect(() => unpacked(frame(descriptor))).toThrow(new RegExp(`those of up to ${WINDOW_MAX} bytes`));
  }
  const single = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x70, 1, 0, 0]);
  expect(() => unpacked(single)).toThrow(/a window of \d{10,} bytes/);
});

test('a dictionary is refused, and so are reserved bits and blocks', () => {
  for (const bytes of [
    [0x28, 0xb5, 0x2f, 0xfd, 1, 0, 5, 1, 0, 0],
    [0x28, 0xb5, 0x2f, 0xfd, 8, 0, 1, 0, 0],
    [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 7, 0, 0],
    [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0xfc, 0xff, 0xff],
    [0x28, 0xb5, 0x2f, 0xfe, 0, 0, 1, 0, 0],
  ]) {
    expect(() => unpacked(Buffer.from(bytes))).toThrow(ZstdError);
  }
});

test('data that end early are refused, wherever they end', () => {
  const whole = packed(SAMPLES.text as Buffer, 3).subarray(0, 60_000);
  for (const length of [1, 4, 5, 8, 100, 5000, whole.length - 1]) {
    expect(() => unpacked(whole.subarray(0, length)), String(length)).toThrow(ZstdError);
  }
});

test('damaged data are refused or unpack to something else, and never take long or another error', { timeout: 60_000 }, () => {
  for (const name of ['text', 'one symbol mostly']) {
    const whole = packed((SAMPLES[name] as Buffer).subarray(0, 60_000), 9);
    for (let n = 0; n < 300; n++) {
      const bytes = Buffer.from(whole);
      for (let m = 0; m <= n % 3; m++) bytes[n < 150 ? random(60) : random(bytes.length)] = random(256);
      try {
        expect(unpacked(bytes).length).toBeLessThan(10_000_000);
      } catch (error) {
        expect(error).toBeInstanceOf(ZstdError);
      }
    }
  }
});

test('a megabyte of the smallest blocks takes time in proportion to it', () => {
  const header = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
  const blocks = Buffer.alloc(1_000_000, Buffer.from([0x0a, 0, 0, 7]));
  const started = performance.now();
  expect(unpacked(Buffer.concat([Buffer.from(header), blocks, Buffer.from([1, 0, 0])])).length).toBe(250_000);
  const frames = Buffer.alloc(900_000, Buffer.from([...header, 1, 0, 0]));
  expect(unpacked(frames)).toEqual(Buffer.alloc(0));
  expect(performance.now() - started).toBeLessThan(10_000);
});
