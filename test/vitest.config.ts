/** Two projects: `workerd` runs in the Worker's own runtime on real D1 and R2, `node` starts the program from outside. */
import { fileURLToPath } from 'node:url';
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';
import { readSchema } from '../src/local/schema.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

export default defineConfig({
  root,
  test: {
    // Most of the time is spent in the runtime's own processes: vitest's default leaves a core idle.
    maxWorkers: '100%',
    // Many tests make stores fail on purpose. What a test that passes prints is of no interest.
    silent: 'passed-only',
    projects: [
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: `${root}/wrangler.toml` },
            miniflare: {
              // Tests hold their own queues (world/queues.ts): nothing is to be consumed behind their back.
              queueConsumers: {},
              bindings: {
                SCHEMA: await readSchema(),
                LOG: 'text',
                REGISTRY_SECRET: 'a-secret-of-the-tests-0123456789abcdef',
                ADMIN_PASSWORD: 'the-password-of-the-tests',
              },
            },
          }),
        ],
        test: { name: 'workerd', root, include: ['test/**/*.test.ts'], exclude: ['test/local/**'], testTimeout: 120_000 },
      },
      {
        test: { name: 'node', root, include: ['test/local/**/*.test.ts'], testTimeout: 120_000, hookTimeout: 120_000 },
      },
    ],
  },
});
