/**
 * Events pass through the whole program and the queues of the runtime. `npm run bench:webhooks` sends many more.
 *
 * @module-tag slow
 */
import { expect, test } from 'vitest';
import { drain } from './drain.ts';

test('300 events reach 10 endpoints, three of which fail at first: none is lost, and none is sent again once acknowledged', async () => {
  const report = await drain({
    events: 300,
    endpoints: 10,
    ill: [
      { manner: 'refuses', patience: 4 },
      { manner: 'resets', patience: 4 },
      { manner: 'hangs', patience: 3 },
    ],
    limit: 100_000,
  });
  console.log(JSON.stringify(report));
  expect(report).toMatchObject({ lost: 0, repeated: 0, states: { delivered: 3000 } });
  expect(report.requests).toBe(3000 + 4 + 4 + 3);
});
