/**
 * Projects by runtime and by size. `workerd` runs in the Worker's own runtime on real D1 and R2, and `node` starts the program
 * from outside. `workerd-alone` has files that need a runtime of their own. `npm test` runs these three. `npm run test:exhaustive`
 * runs `workerd-exhaustive` and `node-exhaustive`: the walks in full.
 */
import { statfsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { readSchema } from '../src/local/schema.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

// Every test writes to databases and buckets in a temporary folder. In memory they need no flush to a disk.
if (hasRoom('/dev/shm')) process.env.TMPDIR = '/dev/shm';

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize > 2 ** 31;
  } catch {
    return false;
  }
}

const WALKS = ['test/**/*.walk.test.ts', 'test/**/*.exhaustive.test.ts'];
const LOCAL = 'test/local/**';
/** These measure the memory of the isolate, where other files leave bodies open on purpose. */
const ALONE = ['test/storage/memory.test.ts'];
const schema = await readSchema();

const inWorkerd = (name: string, test: TestProjectInlineConfiguration['test']): TestProjectInlineConfiguration => ({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: `${root}/wrangler.toml` },
      // The runtime's own log is about requests that tests break off on purpose.
      verbose: false,
      miniflare: {
        // Tests hold their own queues (world/queues.ts): nothing is to be consumed behind their back.
        queueConsumers: {},
        bindings: {
          SCHEMA: schema,
          LOG: 'text',
          REGISTRY_SECRET: 'a-secret-of-the-tests-0123456789abcdef',
          ADMIN_PASSWORD: 'the-password-of-the-tests',
        },
      },
    }),
  ],
  // Starting a runtime for each file takes longer than most files: they share one, and newWorld() empties its stores.
  test: { name, root, isolate: false, testTimeout: 120_000, ...test },
});

const inNode = (name: string, test: TestProjectInlineConfiguration['test']): TestProjectInlineConfiguration => ({
  test: { name, root, testTimeout: 120_000, hookTimeout: 120_000, ...test },
});

export default defineConfig({
  root,
  test: {
    // Most of the time is spent in the runtime's own processes: vitest's default leaves a core idle.
    maxWorkers: '100%',
    // Many tests make stores fail on purpose. What a test that passes prints is of no interest.
    silent: 'passed-only',
    projects: [
      inWorkerd('workerd', {
        include: ['test/**/*.test.ts'],
        exclude: [LOCAL, ...ALONE, 'test/**/*.exhaustive.test.ts'],
        provide: { exhaustive: false },
      }),
      inWorkerd('workerd-alone', { include: ALONE, isolate: true, provide: { exhaustive: false } }),
      inNode('node', {
        include: [`${LOCAL}/*.test.ts`],
        exclude: ['test/**/*.exhaustive.test.ts'],
        provide: { exhaustive: false },
      }),
      inWorkerd('workerd-exhaustive', {
        include: WALKS,
        exclude: [LOCAL],
        provide: { exhaustive: true },
        testTimeout: 600_000,
      }),
      inNode('node-exhaustive', {
        include: WALKS.map((walk) => walk.replace('test/**', LOCAL)),
        provide: { exhaustive: true },
        testTimeout: 600_000,
      }),
    ],
  },
});
