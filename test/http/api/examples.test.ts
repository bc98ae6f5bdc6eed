/** Every operation has an example, and the examples are valid. `test/local/api-examples.test.ts` sends them. */
import { expect, test } from 'vitest';
import { describedRoutes, unmatched } from '../../../src/http/api/reference/all.ts';
import recorded from '../../../src/http/api/reference/example-answers.json' with { type: 'json' };

const ANSWERS = recorded as unknown as Record<string, [status: number, body?: unknown]>;

const operations = describedRoutes.map(({ method, path, operation }) => ({
  name: `${method} ${path.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, '{$1}')}`,
  operation,
}));

test('every operation has a description, and every description an operation', () => {
  expect(unmatched(), 'add it to src/http/api/reference/').toEqual([]);
});

test.each(operations)('$name has an example request and an example answer', ({ name, operation }) => {
  const { query, body, example, answers } = operation;
  if (body) expect(body.safeParse(example?.body), '`example.body` in its description').toMatchObject({ success: true });
  if (query)
    expect(query.safeParse(example?.query ?? {}), '`example.query` in its description').toMatchObject({ success: true });
  const [status = 0, shown] = ANSWERS[name] ?? [];
  expect(Object.keys(answers), 'add it to test/local/examples/walk.ts, and run `npm run examples`').toContain(String(status));
  const { schema } = answers[status] ?? {};
  if (schema) expect(schema.safeParse(shown)).toMatchObject({ success: true });
  else expect(shown).toBeUndefined();
});

test('there is no answer of an operation that does not exist', () => {
  const names = operations.map(({ name }) => name);
  expect(Object.keys(ANSWERS).filter((name) => !names.includes(name))).toEqual([]);
});
