/**
 * The test projects. `workerd` runs in the runtime of Workers on real D1 and R2, and `node` starts the program from outside.
 * `workerd-alone` has the files that need a runtime of their own. `npm test` runs these three, without the tests of the tag
 * `slow`. `npm run test:exhaustive` runs `workerd-exhaustive` and `node-exhaustive`: the tests of the tags `slow` and `walk`.
 */
import { statfsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { readSchema } from '../src/local/schema.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

// Every test writes to databases and buckets in a temporary folder. If that folder is in memory, no write waits for a disk.
if (hasRoom('/dev/shm')) process.env.TMPDIR = '/dev/shm';

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize > 2 ** 31;
  } catch {
    return false;
  }
}

const LOCAL = 'test/local/**';
const LOCAL_TESTS = `${LOCAL}/*.test.ts`;
/** Files that measure the memory of the isolate. Other files leave bodies open on purpose, which would change the result. */
const ALONE = ['test/storage/memory.test.ts'];
const schema = await readSchema();

const inWorkerd = (name: string, test: TestProjectInlineConfiguration['test']): TestProjectInlineConfiguration => ({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: `${root}/wrangler.toml` },
      // The log of the runtime would be about requests that tests abort on purpose.
      verbose: false,
      miniflare: {
        // Tests use queues of their own (world/queues.ts), so the runtime must not consume messages.
        queueConsumers: {},
        // A second database, which world/replica.ts uses.
        d1Databases: { REPLICA: 'replica' },
        bindings: {
          SCHEMA: schema,
          LOG: 'text',
          PULL_COUNT_SECONDS: '0',
          BLOB_CACHE_SECONDS: '0',
          REGISTRY_SECRET: 'a-secret-of-the-tests-0123456789abcdef',
          ADMIN_PASSWORD: 'the-password-of-the-tests',
        },
      },
    }),
  ],
  // Starting a runtime for each file takes longer than most files: they share one, and newWorld() empties its stores.
  test: { name, root, include: ['test/**/*.test.ts'], isolate: false, testTimeout: 120_000, ...test },
});

const inNode = (name: string, test: TestProjectInlineConfiguration['test']): TestProjectInlineConfiguration => ({
  test: { name, root, testTimeout: 120_000, hookTimeout: 120_000, ...test },
});

export default defineConfig({
  root,
  test: {
    // The default of vitest leaves a core idle, because most of the work is done in processes of the runtime.
    maxWorkers: '100%',
    // Only the output of failed tests is shown, because many tests make stores fail on purpose.
    silent: 'passed-only',
    tags: [
      { name: 'slow', description: 'Takes more than about 250 ms. Runs in `npm run test:exhaustive` only.' },
      { name: 'walk', description: 'Has many cases. Runs some of them in `npm test`, and all in `npm run test:exhaustive`.' },
    ],
    projects: [
      inWorkerd('workerd', { exclude: [LOCAL, ...ALONE], provide: { exhaustive: false } }),
      inWorkerd('workerd-alone', { include: ALONE, isolate: true, provide: { exhaustive: false } }),
      inNode('node', { include: [LOCAL_TESTS], provide: { exhaustive: false } }),
      inWorkerd('workerd-exhaustive', { exclude: [LOCAL, ...ALONE], provide: { exhaustive: true }, testTimeout: 600_000 }),
      inNode('node-exhaustive', { include: [LOCAL_TESTS], provide: { exhaustive: true }, testTimeout: 600_000 }),
    ],
  },
});
