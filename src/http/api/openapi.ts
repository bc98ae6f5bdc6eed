/** Generates the OpenAPI 3.1 document of the management API from its routes. */
import * as z from 'zod';
import type { Requirement } from '../../vocabulary/requirements.ts';
import { ROUTES } from '../routes.ts';
import { type Operation, operationOf } from './operation.ts';

interface Route {
  method: string;
  path: string;
  handler: object;
}

/** Descriptions of the path parameters. */
const PARAMETERS: Record<string, string> = {
  name: "The repository's name. Slashes in it are sent as they are or as %2F",
  organization: "The organization's name",
  user: "The user's name",
  team: "The team's name within its organization",
  robot: "The robot's name within its organization",
  rule: "The trust rule's name",
  tag: 'The tag',
  digest: "The manifest's digest",
  entry: 'The `entry` of a deleted repository in the trash',
  key: "The access key's id",
  webhook: "The webhook's id",
  delivery: "The delivery's id. Its receiver gets it as the header `webhook-id`",
};

const ERROR = {
  description: 'The request was refused. The errors have the form of the distribution specification',
  content: {
    'application/json': {
      schema: {
        type: 'object',
        required: ['errors'],
        properties: {
          errors: {
            type: 'array',
            items: {
              type: 'object',
              required: ['code', 'message'],
              properties: { code: { type: 'string' }, message: { type: 'string' }, detail: {} },
            },
          },
        },
      },
    },
  },
};

export type Paths = Record<string, Record<string, unknown>>;

/** The `paths` of the document, which are the same for every origin. Building them is most of the work. */
export function pathsOf(routes: readonly Route[]): Paths {
  const described = routes.flatMap(({ method, path, handler }) => {
    const operation = operationOf(handler);
    return operation ? [{ method: method.toLowerCase(), path, operation }] : [];
  });
  const paths: Paths = {};
  for (const { method, path, operation } of described) {
    const template = path.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, '{$1}');
    paths[template] = { ...paths[template], [method]: operationObject(method, path, operation) };
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
      responses: { Error: ERROR },
    },
    paths,
  };
}

function operationObject(method: string, path: string, operation: Operation) {
  const requirement = ROUTES[path]?.[method.toUpperCase() as 'GET'] ?? 'login';
  const headers = [...(operation.conditional ? CONDITIONS : []), ...(operation.repeatable ? [IDEMPOTENCY_KEY] : [])];
  const parameters = [...pathParameters(path), ...queryParameters(operation), ...headers];
  const body = operation.body && {
    requestBody: { required: true, content: { 'application/json': { schema: jsonSchema(operation.body, 'input') } } },
  };
  return {
    tags: [operation.group],
    operationId: operationId(method, path),
    summary: operation.summary,
    description: [operation.description, NEEDS[requirement]].filter(Boolean).join('\n\n'),
    ...(requirement === 'anyone' ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...body,
    responses: { ...responses(operation), default: { $ref: '#/components/responses/Error' } },
  };
}

/** The sentence in the description of an operation that says what the operation requires of the caller. */
const NEEDS: Record<Requirement, string> = {
  anyone: 'Needs no credentials.',
  login: 'Needs any valid credentials.',
  account: 'Needs an access key that is not narrowed.',
  administrator: 'For administrators.',
  owner: 'For owners of the organization.',
  'owner or self': 'For owners of the organization, and for the user in the path.',
  member: 'For members of the organization.',
  webhook: "For whoever may administer the webhook's repository, organization or registry.",
  trash: 'For whoever may administer the deleted repository.',
  catalog: 'Needs the right to list all repositories.',
  pull: 'Needs the right to `pull` from the repository.',
  push: 'Needs the right to `push` to the repository.',
  delete: 'Needs the right to `delete` in the repository.',
  admin: 'Needs the right to `admin` the repository.',
  create: 'Needs the right to `create` the repository.',
};

const CONDITIONS = [
  {
    name: 'If-Match',
    in: 'header',
    schema: { type: 'string' },
    description: 'Only if the ETag is still this one; otherwise 412',
  },
  {
    name: 'If-None-Match',
    in: 'header',
    schema: { type: 'string', enum: ['*'] },
    description: 'Only if it does not exist yet; otherwise 412',
  },
];

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  schema: { type: 'string' },
  description: 'The same request with the same value is carried out once, and gets the same answer again',
};

function pathParameters(path: string) {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
    description: PARAMETERS[name] ?? name,
  }));
}

function queryParameters({ query }: Operation) {
  if (!query) return [];
  const { properties = {}, required = [] } = jsonSchema(query, 'input') as {
    properties?: Record<string, { description?: string }>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
    ...(description ? { description } : {}),
  }));
}

function responses({ answers }: Operation) {
  return Object.fromEntries(
    Object.entries(answers).map(([status, { description, schema }]) => [
      status,
      { description, ...(schema ? { content: { 'application/json': { schema: jsonSchema(schema, 'output') } } } : {}) },
    ]),
  );
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output') {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}

/** The id of an operation, such as `put_organizations_organization_teams_team`. It is a valid name in programming languages. */
function operationId(method: string, path: string): string {
  return [method, ...path.replace('/api/v1', '').split(/\W+/)].filter(Boolean).join('_').replaceAll('-', '_');
}
