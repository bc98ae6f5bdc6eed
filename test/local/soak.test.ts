/**
 * A short run of the soak test, which `npm run soak` runs for hours, and a test of the soak test itself: it must detect a
 * registry that deletes content too early.
 *
 * @module-tag slow
 */
import { expect, test } from 'vitest';
import { soak } from '../soak/soak.ts';

const PLAN = { clients: 8, seed: 1, operations: 3000, seconds: 30 };

test('8 clients push, mount, pull and delete while the collector runs: nothing acknowledged is lost, and no byte is left over', async () => {
  const outcome = await soak({ ...PLAN, lease: 6, grace: [0, 1] });
  console.log(outcome.summary);
  expect([...outcome.lost, ...outcome.wrong]).toEqual([]);
  expect(outcome.leftOver).toBe(0);
  expect(outcome.operations).toBeGreaterThan(300);
  expect(outcome.collected).toBeGreaterThan(20);
});

test('a registry that keeps leases for one second instead of the promised twelve is detected', async () => {
  const outcome = await soak({ ...PLAN, seconds: 15, lease: 12, toldLease: 1, grace: [0] });
  console.log(outcome.summary, outcome.lost[0]);
  expect(outcome.lost.length).toBeGreaterThan(0);
});
