/** The documents about the API that the Worker serves. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { documents, REFERENCE } from '../docs/reference.ts';

test('the stored documents describe the routes as they are: run `npm run reference`', async () => {
  const names = readdirSync(REFERENCE);
  const stored = Object.fromEntries(names.map((name) => [name, readFileSync(join(REFERENCE, name), 'utf8')]));
  const built = await documents();
  expect(names.sort()).toEqual(Object.keys(built).sort());
  // The whole texts in an error message would be a megabyte.
  for (const [name, text] of Object.entries(built)) expect(stored[name] === text, name).toBe(true);
});
