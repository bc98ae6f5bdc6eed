/** The static files of the console: their versions in the pages, and their sizes. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { VERSIONS_FILE, versionsModule } from '../docs/assets.ts';

const ASSETS = fileURLToPath(new URL('../../src/http/ui/public/assets/', import.meta.url));

test('the versions of the static files are those of the files: run `npm run assets`', () => {
  expect(readFileSync(VERSIONS_FILE, 'utf8')).toBe(versionsModule());
});

test.each([
  ['console.css', 14_000],
  ['console.js', 6_000],
])('%s has at most %i bytes, compressed', (name, max) => {
  expect(gzipSync(readFileSync(`${ASSETS}${name}`)).byteLength).toBeLessThan(max);
});
