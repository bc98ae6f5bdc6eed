/** Routes that read and save policies, and the route that explains why a caller has a right. */

import * as z from 'zod';
import { statementsIn } from '../../app/ecr-policies.ts';
import { explain, getPolicy, type Policy, previewPolicy, savePolicy } from '../../app/policies.ts';
import { recordOf } from '../../contract/fields.ts';
import { explainQuery, identityPolicy, policyQuery, repositoryPolicy, type SentPolicy } from '../../contract/policies.ts';
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

const SAVED = { conditional: true, query: policyQuery } as const;

const TEAM = '/organizations/:organization/teams/:team/policy';
const ROBOT = '/organizations/:organization/robots/:robot/policy';

export const policies = new Hono<AppEnv>({ strict: false })
  .get('/users/:user/policy', operation({}), async (c) => answerPolicy(await getPolicy(callOf(c), userIn(c))))
  .put('/users/:user/policy', operation({ ...SAVED, body: identityPolicy }), async (c) => answerSaved(c, userIn(c), c.var.body))
  .get(TEAM, operation({}), async (c) => answerPolicy(await getPolicy(callOf(c), subjectIn(c, 'team'))))
  .put(TEAM, operation({ ...SAVED, body: identityPolicy }), async (c) => answerSaved(c, subjectIn(c, 'team'), c.var.body))
  .get(ROBOT, operation({}), async (c) => answerPolicy(await getPolicy(callOf(c), subjectIn(c, 'robot'))))
  .put(ROBOT, operation({ ...SAVED, body: identityPolicy }), async (c) => answerSaved(c, subjectIn(c, 'robot'), c.var.body))
  .get('/repositories/:name{.+}/-/policy', operation({}), async (c) =>
    answerPolicy(await getPolicy(callOf(c), `repository:${repositoryIn(c)}`)),
  )
  .put('/repositories/:name{.+}/-/policy', operation({ ...SAVED, body: repositoryPolicy }), async (c) =>
    answerSaved(c, `repository:${repositoryIn(c)}`, c.var.body),
  )
  .get('/explain', operation({ query: explainQuery }), async (c) => {
    const { principal = null, action, tag = null, claims } = c.var.query;
    const repository = parseRepositoryName(c.var.query.repository);
    const question = { principal, action, repository, tag, claims: claimsOf(claims) };
    const { partial, ...explanation } = await explain(callOf(c), question);
    return answer({ ...explanation, ...(partial ? { partial: true as const } : {}) });
  });

function userIn(c: RequestContext): string {
  return `user:${parseName(c.req.param('user') ?? '')}`;
}

function answerPolicy({ statements, warnings, version }: Policy): Response {
  return answer({ statements, ...shownWarnings(warnings) }, { version });
}

type SavingContext = RequestContext & { var: { query: { dryRun?: string | undefined } } };

async function answerSaved(c: SavingContext, subject: string, sent: SentPolicy): Promise<Response> {
  const { statements, text } = await statementsIn(callOf(c), subject, sent);
  if (c.var.query.dryRun !== 'true') {
    return answerPolicy(await savePolicy(callOf(c), subject, statements, expectedVersion(c), text));
  }
  const { changes, truncated, warnings } = await previewPolicy(callOf(c), subject, statements);
  return answer({ changes, truncated, ...shownWarnings(warnings) });
}

function claimsOf(text: string | undefined): Record<string, string> {
  const parsed = recordOf(z.string()).safeParse(text === undefined ? {} : jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new Refusal('request-invalid', { message: 'query.claims: must be a JSON object whose values are texts' });
}
