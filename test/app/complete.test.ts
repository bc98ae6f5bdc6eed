import { expect, test } from 'vitest';

const doors: Record<string, string> = import.meta.glob('../../src/http/**/*.{ts,tsx}', {
  query: '?raw',
  import: 'default',
  eager: true,
});
const operations: Record<string, string> = import.meta.glob('../../src/app/*.ts', {
  query: '?raw',
  import: 'default',
  eager: true,
});
const tests: Record<string, string> = import.meta.glob('./*.test.ts', { query: '?raw', import: 'default', eager: true });

/** Names of the functions in `app/` that take a call, without the checks that they share. */
function operationNames(): string[] {
  const texts = Object.entries(operations).filter(([path]) => !path.endsWith('/access.ts') && !path.endsWith('/content.ts'));
  const takesCall = /^export (?:async )?function (\w+)\(\s*call: (?:Call|ContentCall)\b/gm;
  return texts
    .flatMap(([, text]) => [...text.matchAll(takesCall)].map((match) => match[1] as string))
    .filter((name) => !name.startsWith('require'));
}

test('every operation that a door calls is also called here without a door', () => {
  const [called, tested] = [Object.values(doors).join('\n'), Object.values(tests).join('\n')];
  const isIn = (text: string) => (name: string) => new RegExp(`\\b${name}\\(`).test(text);
  const found = operationNames().filter(isIn(called));
  expect(found.length).toBeGreaterThan(90);
  expect(found.filter((name) => !isIn(tested)(name))).toEqual([]);
});
