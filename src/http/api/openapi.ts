/** The management API as an OpenAPI 3.1 document, made of the routes as they are. */
import * as z from 'zod';
import { ROUTES } from '../routes.ts';
import { type Operation, operationOf } from './operation.ts';

interface Route {
  method: string;
  path: string;
  handler: object;
}

/** What a path parameter is. */
const PARAMETERS: Record<string, string> = {
  name: "The repository's name. It may have slashes, which are sent as they are or as %2F.",
  organization: "The organization's name",
  user: "The user's name",
  team: "The team's name within its organization",
  robot: "The robot's name within its organization",
  rule: "The trust rule's name",
  tag: 'The tag',
  digest: "The manifest's digest",
  entry: 'What a deleted repository is restored by',
  key: "The access key's id",
  webhook: "The webhook's id",
  delivery: "The delivery's id, which its receiver has as `webhook-id`",
};

const ERROR = {
  description: 'The refusal, in the envelope of the distribution specification',
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

/** The part that is the same for every registry, and takes most of the work. */
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
        'People, teams, keys, permissions, repositories and webhooks of this registry, and what happened in it. Authenticate with an access key as bearer token, or with user name and key as Basic. What webhooks of the format `native` are sent is described at `/api/event.schema.json`.',
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
    description: [operation.description, `Needs: \`${requirement}\`.`].filter(Boolean).join('\n\n'),
    ...(requirement === 'anyone' ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...body,
    responses: { ...responses(operation), default: { $ref: '#/components/responses/Error' } },
  };
}

const CONDITIONS = [
  { name: 'If-Match', in: 'header', schema: { type: 'string' }, description: 'Only if it is still as this ETag says' },
  { name: 'If-None-Match', in: 'header', schema: { type: 'string', enum: ['*'] }, description: 'Only if it is not there yet' },
];

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  schema: { type: 'string' },
  description: 'Sent again with the same, the request is not done again, and has the same answer',
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

/** `put_organizations_organization_teams_team`: stable, and a name in every language. */
function operationId(method: string, path: string): string {
  return [method, ...path.replace('/api/v1', '').split(/\W+/)].filter(Boolean).join('_').replaceAll('-', '_');
}
