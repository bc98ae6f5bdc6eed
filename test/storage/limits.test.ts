/** The largest blob with the default settings, in each verification mode. */
import { expect, test } from 'vitest';
import { settings } from '../../src/env.ts';
import { begin, brokenOff, layer, MIB, patch } from '../world/uploads.ts';
import { newWorld } from '../world/world.ts';

const GIB = 1024 * MIB;

test('one put is at most 5 GiB less 5 MiB, which is what R2 accepts', () => {
  expect(settings({}).maxPutBytes).toBe(5_363_466_240);
});

test.each([
  { verify: 'storage', most: 5 * GIB - 5 * MIB },
  { verify: 'stream', most: 46 * GIB },
])('with VERIFY=$verify a chunk that goes beyond $most bytes is refused before it comes', async ({ verify, most }) => {
  const world = await newWorld({ VERIFY: verify });
  const refused = await patch(world, await begin(world), brokenOff(layer(10), most + 1));
  expect(refused.status).toBe(413);
  expect(await refused.text()).toContain(`up to ${most} bytes`);
  expect((await patch(world, await begin(world), brokenOff(layer(10), most))).status).toBe(400);
});
