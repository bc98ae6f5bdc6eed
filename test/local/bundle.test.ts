/** The size of the deployed Worker: a small one starts fast. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

/** The maximum number of bytes: about a quarter is the console with its libraries. Cloudflare allows 3 MB, compressed. */
const MAX_BYTES = 1280 * 1024;

test('the Worker is under 1,280 KiB, minified', async () => {
  const entry = fileURLToPath(new URL('../../src/index.ts', import.meta.url));
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: 'esm',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*'],
    write: false,
  });
  const size = outputFiles[0]?.contents.byteLength ?? 0;
  expect(size).toBeGreaterThan(10_000);
  expect(size).toBeLessThan(MAX_BYTES);
  console.log(`bundle: ${size} bytes minified`);
});
