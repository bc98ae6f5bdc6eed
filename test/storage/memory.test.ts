/** Buffers for bodies of unknown length. A buffer is as large as its body, and all buffers together fit into the isolate. */
import { describe, expect, test } from 'vitest';
import { buffersOf, type Reservation, release, reserve } from '../../src/storage/streams.ts';
import { contentOf } from '../world/images.ts';
import { begin, finish, layer, locationOf, MIB, patch, pulled, sized, unsized } from '../world/uploads.ts';
import { newWorld } from '../world/world.ts';

const KIB = 1024;
const streamOf = (bytes: Uint8Array<ArrayBuffer>) => unsized(bytes as ReturnType<typeof layer>).body as ReadableStream;

describe('buffersOf', () => {
  test.each([
    [0, 0],
    [1, 64 * KIB],
    [64 * KIB, 128 * KIB],
    [64 * KIB + 1, 128 * KIB],
    [300 * KIB, 512 * KIB],
    [MIB, MIB],
    [MIB + 1, MIB],
  ])('of %i bytes takes %i bytes of memory at most, and gives them all', async (size, most) => {
    const bytes = layer(size);
    const parts: Uint8Array[] = [];
    let memory = 0;
    for await (const buffer of buffersOf(streamOf(bytes), MIB)) {
      memory = Math.max(memory, buffer.buffer.byteLength);
      parts.push(buffer.slice());
    }
    expect(memory).toBeLessThanOrEqual(most);
    expect(parts.map(({ byteLength }) => byteLength)).toEqual(size > MIB ? [MIB, size - MIB] : size > 0 ? [size] : []);
    expect(new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer())).toEqual(bytes);
  });

  test('of many parts reuses the same memory', async () => {
    const bytes = layer(3 * MIB + 17);
    const sizes: number[] = [];
    for await (const buffer of buffersOf(streamOf(bytes), MIB)) sizes.push(buffer.buffer.byteLength);
    expect(sizes).toEqual([MIB, MIB, MIB, MIB]);
  });

  test('releases its memory, however it ends', async () => {
    const most = 64 * MIB;
    for await (const _ of buffersOf(streamOf(layer(MIB)), MIB)) break;
    for await (const _ of buffersOf(streamOf(layer(MIB)), MIB, 'left')) break;
    for await (const _ of buffersOf(streamOf(layer(10)), MIB));
    const whole: Reservation = { bytes: 0 };
    reserve(whole, most);
    release(whole);
  });
});

test('beyond the memory of the isolate gets a 429 with Retry-After', () => {
  const [one, two]: [Reservation, Reservation] = [{ bytes: 0 }, { bytes: 0 }];
  reserve(one, 60 * MIB);
  expect(() => reserve(two, 5 * MIB)).toThrow(expect.objectContaining({ reason: 'memory-full', retryAfter: 5 }));
  reserve(two, MIB);
  reserve(two, 4 * MIB);
  release(one);
  reserve(two, 64 * MIB);
  release(two);
});

test('a hundred short concurrent uploads of unknown length all succeed', async () => {
  const world = await newWorld();
  const contents = await Promise.all(Array.from({ length: 100 }, (_, n) => contentOf(layer(1000, n + 1))));
  const answers = await Promise.all(contents.map(async ({ bytes }) => patch(world, await begin(world), unsized(bytes))));
  expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(202));
});

test('of long uploads of unknown length, as many start as memory allows, and the others later', async () => {
  const world = await newWorld({ PART_BYTES: String(32 * MIB) });
  const { bytes, digest } = await contentOf(layer(17 * MIB));
  const gate = Promise.withResolvers<void>();
  const held = await Promise.all([begin(world), begin(world)]);
  const reached: Promise<void>[] = [];
  const answers = held.map((location) => {
    const full = Promise.withResolvers<void>();
    reached.push(full.promise);
    let at = 0;
    const body = new ReadableStream({
      type: 'bytes',
      async pull(controller) {
        if (at >= bytes.byteLength) {
          full.resolve();
          await gate.promise;
          return controller.close();
        }
        controller.enqueue(bytes.slice(at, at + 256 * KIB));
        at += 256 * KIB;
      },
    });
    return patch(world, location, { body });
  });
  await Promise.all(reached);
  const location = await begin(world);
  const refused = await patch(world, location, unsized(bytes));
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5']);
  expect(await refused.text()).toContain('TOOMANYREQUESTS');
  gate.resolve();
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([202, 202]);
  const taken = await patch(world, location, unsized(bytes));
  expect((await finish(world, locationOf(taken), digest)).status).toBe(201);
  expect(await pulled(world, 'acme/api', digest)).toBe(digest);
});

test('ten concurrent chunks of known length all succeed, the ones beyond the memory without a part in it', async () => {
  const world = await newWorld({ VERIFY: 'stream' });
  const { bytes, digest } = await contentOf(layer(9 * MIB));
  const locations = await Promise.all(Array.from({ length: 10 }, () => begin(world)));
  const body = () => sized(bytes);
  const answers = await Promise.all(locations.map((location) => patch(world, location, body())));
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(202));
  for (const location of [locations[0], locations[9]]) {
    expect((await finish(world, location ?? '', digest)).status).toBe(201);
  }
  expect(await pulled(world, 'acme/api', digest)).toBe(digest);
});
