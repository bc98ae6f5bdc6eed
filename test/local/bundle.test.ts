/** The size of the deployed Worker: a small one starts fast. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

/** The maximum number of bytes. A fifth is zod, which validates and documents the API. Cloudflare allows 3 MB, compressed. */
const MAX_BYTES = 880 * 1024;

test('the Worker is under 880 KiB, minified', async () => {
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
