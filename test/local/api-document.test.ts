/** The OpenAPI document, checked by a validator, and the page that shows it. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROUTES } from '../../src/http/routes.ts';
import { type Registry, startRegistry } from '../world/registry.ts';

interface Described {
  operationId: string;
  parameters?: { name: string; in: string; description?: string }[];
  requestBody?: { content: Record<string, { example?: unknown }> };
  responses: Record<string, { description: string; content?: Record<string, { example?: unknown }> }>;
}

interface Document {
  openapi: string;
  servers: { url: string }[];
  paths: Record<string, Record<string, Described>>;
}

let registry: Registry;
let document: Document;

beforeAll(async () => {
  registry = await startRegistry();
  document = (await (await fetch(`${registry.url}/api/openapi.json`)).json()) as Document;
});
afterAll(() => registry.stop());

test('it is valid OpenAPI 3.1, and names this registry', async () => {
  const { valid, errors } = await new Validator().validate({ ...structuredClone(document) });
  expect(errors ?? []).toEqual([]);
  expect(valid).toBe(true);
  expect(document.openapi).toBe('3.1.0');
  expect(document.servers).toEqual([{ url: registry.url }]);
});

test('it describes every route of the API and no other', () => {
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const routes = Object.entries(ROUTES)
    .filter(([path]) => path.startsWith('/api/v1/'))
    .flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, '{$1}')}`),
    );
  expect(described.sort()).toEqual(routes.sort());
});

test('names of operations are unique, and each path parameter is described', () => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, ...operation })),
  );
  const ids = operations.map(({ operationId }) => operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { path, parameters = [] } of operations) {
    const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => `{${name}}`);
    expect(path.match(/\{\w+\}/g) ?? [], path).toEqual(inPath);
    for (const { name, in: place, description } of parameters) {
      if (place === 'path') expect(description, `${path}: ${name}`).toMatch(/./);
    }
  }
});

test('each operation has an example of its body and its answer, and errors with a status, a code and when they happen', () => {
  for (const { operationId, requestBody, responses } of Object.values(document.paths).flatMap(Object.values<Described>)) {
    const body = requestBody?.content['application/json'];
    if (body) expect(body, operationId).toHaveProperty('example');
    const successes = Object.entries(responses).filter(([status]) => Number(status) < 400);
    const answers = successes.flatMap(([, { content }]) => content?.['application/json'] ?? []);
    if (answers.length > 0)
      expect(answers.some((answer) => 'example' in answer) || answers.length < successes.length).toBe(true);
    for (const [status, { description }] of Object.entries(responses)) {
      if (Number(status) >= 400) expect(description, `${operationId} ${status}`).toMatch(/^`[A-Z_]+`: \S/);
    }
    expect(Object.keys(responses), operationId).toEqual(expect.arrayContaining(['429', '503']));
  }
});

test('the page has examples with the address of this registry, limits and defaults', async () => {
  const page = await (await fetch(`${registry.url}/api`)).text();
  expect(page).toContain(`curl -X PUT ${registry.url}/api/v1/organizations/acme/members/bob \\`);
  expect(page).toContain('1 to 100 characters');
  expect(page).toContain('Default: <code>100</code>');
  expect(page).not.toContain('registry.example.com');
});

test('the page shows every operation, loads nothing from elsewhere and runs no script', async () => {
  const response = await fetch(`${registry.url}/api`);
  expect(response.headers.get('content-type')).toContain('text/html');
  const policy = response.headers.get('content-security-policy') ?? '';
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toContain('script-src');
  const page = await response.text();
  for (const methods of Object.values(document.paths)) {
    for (const { operationId } of Object.values(methods)) expect(page).toContain(`id="${operationId}"`);
  }
  expect(page).not.toMatch(/<script|(?:src|href)="https?:/);
  const groups = [...page.matchAll(/<h2 id="[^"]*">([^<]*)</g)].map((match) => match[1]);
  expect(groups.indexOf('Repositories')).toBe(groups.indexOf('Tags') - 1);
});
