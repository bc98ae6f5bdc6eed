/** Routes that read and save policies, and the route that explains a right. */

import * as z from 'zod';
import { explain, getPolicy, type Policy, previewPolicy, savePolicy } from '../../app/policies.ts';
import { recordOf } from '../../contract/fields.ts';
import {
  explainQuery,
  explanationSchema,
  identityPolicy,
  policyPreviewSchema,
  policyQuery,
  policySchema,
  repositoryPolicy,
} from '../../contract/policies.ts';
import type { SentStatement } from '../../contract/statements.ts';
import { jsonOf } from '../../oci/json.ts';
import { parseRepositoryName } from '../../oci/name.ts';
import { parseName } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer } from './answers.ts';
import { shownWarnings } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, subjectIn } from './params.ts';

const GROUP = 'Policies';

const read = {
  group: GROUP,
  answers: { 200: { description: 'The policy and its ETag', schema: policySchema } },
} as const;

const save = {
  group: GROUP,
  description:
    'Replaces the whole policy. An action is allowed only if a statement allows it, and a statement that denies it wins.',
  conditional: true,
  query: policyQuery,
  answers: {
    200: {
      description: 'The saved policy and its new ETag; for a dry run, the rights that would change',
      schema: z.union([policySchema, policyPreviewSchema]),
    },
  },
} as const;

const IDENTITY_EXAMPLE = { body: { statements: [{ actions: 'push and pull', repositories: ['acme/*'] }] } };
const REPOSITORY_EXAMPLE = { body: { statements: [{ actions: 'push and pull', principals: ['team:acme/dev'] }] } };

const TEAM = '/organizations/:organization/teams/:team/policy';
const ROBOT = '/organizations/:organization/robots/:robot/policy';

export const policies = new Hono<AppEnv>({ strict: false })
  .get('/users/:user/policy', operation({ ...read, summary: "Read a user's policy" }), async (c) =>
    answerPolicy(await getPolicy(callOf(c), userIn(c))),
  )
  .put(
    '/users/:user/policy',
    operation({ ...save, summary: "Save a user's policy", body: identityPolicy, example: IDENTITY_EXAMPLE }),
    async (c) => answerSaved(c, userIn(c), c.var.body.statements),
  )
  .get(TEAM, operation({ ...read, summary: "Read a team's policy" }), async (c) =>
    answerPolicy(await getPolicy(callOf(c), subjectIn(c, 'team'))),
  )
  .put(
    TEAM,
    operation({
      ...save,
      refusals: { 'limit-reached': 'The policies of the teams of a member would have more than 32 KiB' },
      summary: "Save a team's policy",
      body: identityPolicy,
      example: IDENTITY_EXAMPLE,
    }),
    async (c) => answerSaved(c, subjectIn(c, 'team'), c.var.body.statements),
  )
  .get(ROBOT, operation({ ...read, summary: "Read a robot's policy" }), async (c) =>
    answerPolicy(await getPolicy(callOf(c), subjectIn(c, 'robot'))),
  )
  .put(
    ROBOT,
    operation({ ...save, summary: "Save a robot's policy", body: identityPolicy, example: IDENTITY_EXAMPLE }),
    async (c) => answerSaved(c, subjectIn(c, 'robot'), c.var.body.statements),
  )
  .get('/repositories/:name{.+}/-/policy', operation({ ...read, summary: "Read a repository's policy" }), async (c) =>
    answerPolicy(await getPolicy(callOf(c), `repository:${repositoryIn(c)}`)),
  )
  .put(
    '/repositories/:name{.+}/-/policy',
    operation({ ...save, summary: "Save a repository's policy", body: repositoryPolicy, example: REPOSITORY_EXAMPLE }),
    async (c) => answerSaved(c, `repository:${repositoryIn(c)}`, c.var.body.statements),
  )
  .get(
    '/explain',
    operation({
      group: GROUP,
      summary: 'Explain whether somebody may do something',
      description:
        'Tells whether an action is allowed, and which statement decides. About yourself, you need no right. About ' +
        'somebody else, you need the right to administer the repository. Administrators get complete answers, and ' +
        'owners about people and robots of their organizations. An answer about anybody else considers only the name ' +
        'and the policy of the repository, and is marked `partial`. A narrowed key gets answers about itself only.',
      query: explainQuery,
      example: { query: { principal: 'user:bob', action: 'push', repository: 'acme/app', tag: 'v1' } },
      refusals: {
        'not-found': 'The repository does not exist, or you may not know of it',
        forbidden: 'You ask about somebody else, and may not administer the repository',
      },
      answers: { 200: { description: 'The decision and the statements behind it', schema: explanationSchema } },
    }),
    async (c) => {
      const { principal = null, action, tag = null, claims } = c.var.query;
      const repository = parseRepositoryName(c.var.query.repository);
      const question = { principal, action, repository, tag, claims: claimsOf(claims) };
      const { partial, ...explanation } = await explain(callOf(c), question);
      return answer({ ...explanation, ...(partial ? { partial: true as const } : {}) });
    },
  );

function userIn(c: RequestContext): string {
  return `user:${parseName(c.req.param('user') ?? '')}`;
}

function answerPolicy({ statements, warnings, version }: Policy): Response {
  return answer({ statements, ...shownWarnings(warnings) }, { version });
}

type SavingContext = RequestContext & { var: { query: { dryRun?: string | undefined } } };

async function answerSaved(c: SavingContext, subject: string, statements: readonly SentStatement[]): Promise<Response> {
  if (c.var.query.dryRun !== 'true') {
    return answerPolicy(await savePolicy(callOf(c), subject, statements, expectedVersion(c)));
  }
  const { changes, truncated, warnings } = await previewPolicy(callOf(c), subject, statements);
  return answer({ changes, truncated, ...shownWarnings(warnings) });
}

function claimsOf(text: string | undefined): Record<string, string> {
  const parsed = recordOf(z.string()).safeParse(text === undefined ? {} : jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new Refusal('request-invalid', { message: 'query.claims: must be a JSON object whose values are texts' });
}
