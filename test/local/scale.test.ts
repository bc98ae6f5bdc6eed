/** The calls of `npm run bench:scale`. */
import { expect, test } from 'vitest';
import { FORGOTTEN, UNKNOWN } from '../../bench/scale/routes.ts';

test('every route is called, or left out for a reason', () => {
  expect(FORGOTTEN, 'add them to bench/scale').toEqual([]);
  expect(UNKNOWN).toEqual([]);
});
