/** How `npm run bench:latency` counts the calls that a pull or push makes one after the other. */
import { expect, test } from 'vitest';
import { type Call, chainOf, longestWay, totalOf, type Visit } from '../../bench/latency/chain.ts';
import { Lane } from '../../bench/latency/lane.ts';

const visit = (...calls: [start: number, end: number | null, kind?: Call['kind']][]): Visit => ({
  number: 0,
  name: '',
  calls: calls.map(([start, end, kind = 'd1']) => ({ kind, start, end })),
  answered: 100,
});

test('calls one after the other are a chain, and parallel calls count once', () => {
  expect(chainOf(visit(), 'd1')).toBe(0);
  expect(chainOf(visit([1, 2], [3, 4], [5, 6]), 'd1')).toBe(3);
  expect(chainOf(visit([1, 4], [2, 5], [3, 6]), 'd1')).toBe(1);
  expect(chainOf(visit([1, 10], [2, 3], [4, 5], [11, 12]), 'd1')).toBe(3);
});

test('D1 and R2 are counted apart, and calls after the answer are on no path', () => {
  const mixed = visit([1, 2], [3, 4, 'r2'], [5, 6], [7, null], [8, 101]);
  expect([chainOf(mixed, 'd1'), chainOf(mixed, 'r2')]).toEqual([2, 1]);
  expect([totalOf(mixed, 'd1'), totalOf(mixed, 'r2')]).toEqual([2, 1]);
});

test('the critical path goes through the slower of two lanes, and an item waits for the place of another one', async () => {
  let number = 0;
  const request = (lane: Lane) => {
    lane.last = { number: number++, after: [lane.last], needs: [lane.last] };
  };
  const lane = new Lane('http://registry');
  request(lane);
  const [first, second] = [lane.fork(), lane.fork()];
  for (let n = 0; n < 3; n++) request(first);
  request(second);
  lane.join([first, second]);
  expect(longestWay(lane.last, () => 1, 'after')).toBe(4);
  await lane.each(2, [1, 2, 3, 4, 5, 6], async (_, one) => {
    await null;
    request(one);
  });
  expect(longestWay(lane.last, () => 1, 'after')).toBe(4 + 3);
  expect(longestWay(lane.last, () => 1, 'needs')).toBe(4 + 1);
});
