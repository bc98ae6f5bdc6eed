/** Settings that `npm start` takes from wrangler.toml, and those it leaves out. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { unstable_readConfig } from 'wrangler';
import { deploymentOf, readDeployment } from '../../src/local/deployment.ts';

const WRANGLER = new URL('../../wrangler.toml', import.meta.url);
const TOML = readFileSync(WRANGLER, 'utf8');

/** The deployment that is read from wrangler.toml with one value changed. */
function changed(from: string, to: string): ReturnType<typeof deploymentOf> {
  expect(TOML).toContain(from);
  return deploymentOf(TOML.replace(from, to));
}

test('everything is read as wrangler reads it', () => {
  const config = unstable_readConfig({ config: WRANGLER.pathname });
  const { main, compatibility, producers, consumers, limits, scheduleMinutes } = readDeployment();
  expect(config.main?.endsWith(main)).toBe(true);
  expect(compatibility).toEqual({
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
  });
  expect(Object.entries(producers).map(([binding, queue]) => ({ binding, queue }))).toEqual(config.queues.producers);
  expect(config.queues.consumers).toEqual(
    consumers.map(({ name: queue, maxBatchSize, maxBatchTimeout, maxRetries, deadLetterQueue }) => ({
      queue,
      max_batch_size: maxBatchSize,
      max_batch_timeout: maxBatchTimeout,
      max_retries: maxRetries,
      ...(deadLetterQueue ? { dead_letter_queue: deadLetterQueue } : {}),
    })),
  );
  for (const [name, limit] of Object.entries(limits)) {
    expect(config.ratelimits).toContainEqual(expect.objectContaining({ name, simple: limit }));
  }
  expect(scheduleMinutes).toBe(10);
});

test('a changed value is taken over', () => {
  expect(changed('main = "src/index.ts"', 'main = "src/other.ts"').main).toBe('src/other.ts');
  expect(changed('"2026-11-01"', '"2027-01-31"').compatibility.compatibilityDate).toBe('2027-01-31');
  expect(changed('"global_fetch_strictly_public", ', '').compatibility.compatibilityFlags).toHaveLength(1);
  expect(changed('limit = 30,', 'limit = 31,').limits.WRONG_PASSWORDS?.limit).toBe(31);
  expect(changed('limit = 30, period = 60', 'limit = 5, period = 10').limits.WRONG_PASSWORDS).toEqual({ limit: 5, period: 10 });
  expect(changed('queue = "berth-deliveries"', 'queue = "others"').producers.DELIVERIES).toBe('others');
  expect(changed('max_batch_size = 5\nmax_batch_timeout = 1\nmax_retries = 100', 'max_batch_size = 7').consumers[1]).toEqual({
    name: 'berth-deliveries',
    maxBatchSize: 7,
    maxBatchTimeout: 5,
    maxRetries: 3,
    deadLetterQueue: 'berth-dead-letters',
  });
  expect(changed('7,17,27,37,47,57', '0,15,30,45').scheduleMinutes).toBe(15);
  expect(changed('7,17,27,37,47,57', '5').scheduleMinutes).toBe(60);
});

test('limits that protect users from each other are left out', () => {
  expect(Object.keys(readDeployment().limits).sort()).toEqual(['CALLS', 'LOGINS', 'TEST_DELIVERIES', 'WRONG_PASSWORDS']);
});

test('a file that cannot be used is refused with the reason', () => {
  expect(() => changed('7,17,27,37,47,57 *', '0 3')).toThrow('its schedule is no list of minutes: 0 3 * * *');
  expect(() => deploymentOf('name = "berth"')).toThrow('no main');
  expect(() => deploymentOf('name =')).toThrow();
});
