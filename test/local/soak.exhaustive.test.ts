/** The soak in short, as `npm run soak` does it for hours; and its own trial: it has to find out a registry that forgets too soon. */
import { expect, test } from 'vitest';
import { soak } from '../soak/soak.ts';

const PLAN = { clients: 8, seed: 1, operations: 3000, seconds: 30 };

test('8 clients push, mount, pull and delete while the collector runs: nothing that was acknowledged is lost, no byte is left over', async () => {
  const outcome = await soak({ ...PLAN, lease: 6, grace: [0, 1] });
  console.log(outcome.summary);
  expect([...outcome.lost, ...outcome.wrong]).toEqual([]);
  expect(outcome.leftOver).toBe(0);
  expect(outcome.operations).toBeGreaterThan(300);
  expect(outcome.collected).toBeGreaterThan(20);
});

test('a registry that keeps what it was told of for a second only, where its clients were promised twelve, is found out', async () => {
  const outcome = await soak({ ...PLAN, seconds: 15, lease: 12, toldLease: 1, grace: [0] });
  console.log(outcome.summary, outcome.lost[0]);
  expect(outcome.lost.length).toBeGreaterThan(0);
});
