/** The size of the deployed Worker, and what it does not contain: a small Worker starts fast. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BuildResult, build } from 'esbuild';
import { parse } from 'smol-toml';
import { beforeAll, expect, test } from 'vitest';

/** The maximum number of bytes. A fifth is the console, and a quarter are libraries. Cloudflare allows 64 MB. */
const MAX_BYTES = 1250 * 1024;

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

let built: BuildResult<{ write: false; metafile: true }>;

beforeAll(async () => {
  built = await build({
    absWorkingDir: ROOT,
    entryPoints: ['src/index.ts'],
    bundle: true,
    minify: true,
    format: 'esm',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    write: false,
    metafile: true,
  });
});

test('the Worker is under 1,250 KiB, minified', () => {
  const size = built.outputFiles[0]?.contents.byteLength ?? 0;
  expect(size).toBeGreaterThan(10_000);
  expect(size).toBeLessThan(MAX_BYTES);
  console.log(`bundle: ${size} bytes minified`);
});

test('a deployment is minified, too', () => {
  expect(parse(readFileSync(`${ROOT}wrangler.toml`, 'utf8'))).toMatchObject({ minify: true });
});

test('the Worker contains nothing that only the documents of the API need', () => {
  const [output] = Object.values(built.metafile.outputs);
  const contained = Object.keys(output?.inputs ?? {});
  expect(contained.length).toBeGreaterThan(100);
  const forDocuments = /^src\/(?:http\/api\/reference\/|contract\/answers\/|contract\/event-schema)/;
  expect(
    contained.filter((path) => forDocuments.test(path)),
    'import their types with `import type`',
  ).toEqual([]);
});

test('the Markdown library is not loaded when the Worker starts', () => {
  const importers = Object.values(built.metafile.inputs).flatMap(({ imports }) => imports);
  const kinds = importers.filter(({ path }) => path === 'src/markdown.ts').map(({ kind }) => kind);
  expect([...new Set(kinds)]).toEqual(['dynamic-import']);
});
