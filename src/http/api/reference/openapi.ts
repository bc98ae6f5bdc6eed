/** Generates the OpenAPI 3.1 document of the management API from its routes. */
import type * as z from 'zod';
import type { Requirement } from '../../../vocabulary/requirements.ts';
import { ROUTES } from '../../routes.ts';
import { PATH_PARAMETERS } from '../samples.ts';
import { describedRoutes } from './all.ts';
import { type DeclaredError, errorsOf } from './declared-errors.ts';
import type { Described } from './described.ts';
import recorded from './example-answers.json' with { type: 'json' };
import { jsonSchema } from './json-schema.ts';

/** The recorded answer to the example of each operation: its status and body, by method and path template. */
const ANSWERS = recorded as unknown as Record<string, [status: number, body?: unknown]>;

const ERROR = {
  type: 'object',
  required: ['errors'],
  properties: {
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['code', 'message'],
        properties: {
          code: { type: 'string', description: 'What is wrong, for programs' },
          message: { type: 'string', description: 'What is wrong, what stays unchanged, and what to do' },
          detail: { description: 'More for programs, such as all fields that are not valid' },
        },
      },
    },
  },
};

export type Paths = Record<string, Record<string, unknown>>;

/** Returns the `paths` of the document, which are the same for every origin. Building them is most of the work. */
export function pathsOf(): Paths {
  const paths: Paths = {};
  for (const { method, path: below, operation } of describedRoutes) {
    const path = `/api/v1${below}`;
    const template = templateOf(path);
    paths[template] = { ...paths[template], [method.toLowerCase()]: operationObject(method, path, operation) };
  }
  return paths;
}

export function openApiDocument(paths: Paths, origin: string) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Berth',
      version: '1',
      description:
        'Manages people, teams, keys, permissions, repositories and webhooks of this registry, and reads its audit ' +
        'log. Authenticate with an access key as bearer token, or with user name and key as Basic. ' +
        '`/api/event.schema.json` is the JSON schema of what webhooks of the format `native` are sent.',
    },
    servers: [{ url: origin }],
    security: [{ bearer: [] }, { basic: [] }],
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, basic: { type: 'http', scheme: 'basic' } },
      schemas: { Error: ERROR },
    },
    paths,
  };
}

/** Returns the path template of a route: `/api/v1/users/{user}` for the pattern `/api/v1/users/:user`. */
function templateOf(path: string): string {
  return path.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, '{$1}');
}

function operationObject(method: string, path: string, operation: Described) {
  const requirement = ROUTES[path]?.[method as 'GET'] ?? 'login';
  const headers = [...(operation.conditional ? CONDITIONS : []), ...(operation.repeatable ? [IDEMPOTENCY_KEY] : [])];
  const parameters = [...pathParameters(path, operation), ...queryParameters(operation), ...headers];
  return {
    tags: [operation.group],
    operationId: operationId(method, path),
    summary: operation.summary,
    description: [operation.description, NEEDS[requirement]].filter(Boolean).join('\n\n'),
    ...(requirement === 'anyone' ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(operation.body
      ? { requestBody: { required: true, content: content(operation.body, 'input', exampleBody(operation)) } }
      : {}),
    responses: {
      ...successes(operation, ANSWERS[`${method} ${templateOf(path).replace('/api/v1', '')}`]),
      ...refusals(errorsOf(path, requirement, operation)),
    },
  };
}

function exampleBody({ example }: Described): { example?: unknown } {
  return example?.body === undefined ? {} : { example: example.body };
}

function content(schema: z.ZodType, io: 'input' | 'output', example: { example?: unknown }) {
  return { 'application/json': { schema: jsonSchema(schema, io), ...example } };
}

/** The sentence in the description of an operation that says what the operation requires of the caller. */
const NEEDS: Record<Requirement, string> = {
  anyone: 'Anybody may do this, without credentials.',
  login: 'Any valid credentials will do.',
  account: 'Needs a personal access key that is not narrowed.',
  administrator: 'Only administrators may do this.',
  owner: 'Only owners of the organization may do this.',
  'owner or self': 'Only owners of the organization and the user in the path may do this.',
  member: 'Only members of the organization may do this.',
  webhook: 'Needs the right to administer the repository, organization or registry that the webhook belongs to.',
  trash: 'Needs the right to administer the name of the deleted repository.',
  catalog: 'Needs the right to list all repositories.',
  pull: 'Needs the right `pull` in the repository.',
  push: 'Needs the right `push` in the repository.',
  delete: 'Needs the right `delete` in the repository.',
  admin: 'Needs the right `admin` in the repository.',
  create: 'Needs the right `create` for the name of the repository.',
};

const CONDITIONS = [
  {
    name: 'If-Match',
    in: 'header',
    schema: { type: 'string' },
    description: 'The change is made only if the ETag is still this one. Otherwise the answer is 412',
  },
  {
    name: 'If-None-Match',
    in: 'header',
    schema: { type: 'string', enum: ['*'] },
    description: 'The change is made only if the thing does not exist yet. Otherwise the answer is 412',
  },
];

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  schema: { type: 'string' },
  description: 'A request with the same value as an earlier one has no further effect, and gets the same answer',
};

function pathParameters(path: string, { example }: Described) {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
    ...PATH_PARAMETERS[name],
    ...(example?.path?.[name] === undefined ? {} : { example: example.path[name] }),
  }));
}

function queryParameters({ query, example }: Described) {
  if (!query) return [];
  const { properties = {}, required = [] } = jsonSchema(query, 'input');
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
    ...(description ? { description } : {}),
    ...(example?.query?.[name] === undefined ? {} : { example: example.query[name] }),
  }));
}

/**
 * Returns the documented answers of an operation. The recorded answer to its example is added to the answer with the same
 * status.
 */
function successes({ answers }: Described, [recordedStatus, body]: [number?, unknown?] = []) {
  return Object.fromEntries(
    Object.entries(answers).map(([status, { description, schema }]) => {
      const example = Number(status) === recordedStatus ? { example: body } : {};
      return [status, { description, ...(schema ? { content: content(schema, 'output', example) } : {}) }];
    }),
  );
}

/**
 * Returns the documented errors of an operation, by status. Errors with the same status share an entry, with a paragraph for
 * each.
 */
function refusals(errors: DeclaredError[]) {
  const byStatus = Map.groupBy(errors, ({ status }) => status);
  return Object.fromEntries([...byStatus].map(([status, ofStatus]) => [status, refusal(ofStatus)]));
}

function refusal(errors: DeclaredError[]) {
  const code = { enum: [...new Set(errors.map((error) => error.code))] };
  const codes = { properties: { errors: { items: { properties: { code } } } } };
  return {
    description: errors.map((error) => `\`${error.code}\`: ${error.when}`).join('\n\n'),
    content: { 'application/json': { schema: { allOf: [{ $ref: '#/components/schemas/Error' }, codes] } } },
  };
}

/**
 * Returns the id of an operation, such as `put_organizations_organization_teams_team`. It is a valid name in programming
 * languages.
 */
function operationId(method: string, path: string): string {
  const words = [method.toLowerCase(), ...path.replace('/api/v1', '').split(/\W+/)];
  return words.filter(Boolean).join('_').replaceAll('-', '_');
}
