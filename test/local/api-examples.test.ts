/**
 * The examples of the documentation of the API. Each request is sent to a new registry, which must give the documented answer.
 * `npm run examples` records the answers.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';
import { type Answer, type Document, Recorder } from './examples/recorder.ts';
import { walk } from './examples/walk.ts';

const RECORDED = fileURLToPath(new URL('../../src/http/api/reference/example-answers.json', import.meta.url));

let registry: Registry;
let endpoint: Server;
let document: Document;
let answers: Record<string, Answer>;

beforeAll(async () => {
  endpoint = createServer((request, response) => {
    request.resume().once('end', () => response.writeHead(204).end());
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
  registry = await startRegistry({ env: { INSECURE_WEBHOOKS: 'on', PULL_COUNT_SECONDS: '0' } });
  document = (await (await fetch(`${registry.url}/api/openapi.json`)).json()) as Document;
  const recorder = new Recorder(registry, document);
  await walk(recorder, `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/berth`);
  answers = Object.fromEntries(names().map((name) => [name, recorder.answers[name] as Answer]));
  if (process.env.RECORD) await writeFile(RECORDED, inLines(answers));
});
afterAll(async () => {
  await registry?.stop();
  endpoint?.close();
});

/** The operations in the order of the document, each in the form `PUT /users/{user}`. */
function names(): string[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace('/api/v1', '')}`),
  );
}

/** The recorded answers as JSON, with one line for each operation. */
function inLines(recorded: Record<string, Answer>): string {
  const lines = Object.entries(recorded).map(([name, answer]) => `${JSON.stringify(name)}: ${JSON.stringify(answer)}`);
  return `{\n${lines.join(',\n')}\n}\n`;
}

test('the example of every operation is sent', () => {
  const unsent = Object.entries(answers).flatMap(([name, answer]) => (answer ? [] : [name]));
  expect(unsent, 'add them to test/local/examples/walk.ts').toEqual([]);
});

test('the recorded answers are those of the registry', async () => {
  expect(answers, 'run `npm run examples`').toEqual(JSON.parse(await readFile(RECORDED, 'utf8')));
});
