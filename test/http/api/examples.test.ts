/** Every operation has an example, and the examples are valid. `test/local/api-examples.test.ts` sends them. */
import { expect, test } from 'vitest';
import { api } from '../../../src/http/api/all.ts';
import { operationOf } from '../../../src/http/api/operation.ts';
import recorded from '../../../src/http/api/reference/example-answers.json' with { type: 'json' };

const ANSWERS = recorded as unknown as Record<string, [status: number, body?: unknown]>;

const operations = api
  .flatMap(({ routes }) => routes)
  .flatMap(({ method, path, handler }) => {
    const operation = operationOf(handler);
    return operation ? [{ name: `${method} ${path.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, '{$1}')}`, operation }] : [];
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
