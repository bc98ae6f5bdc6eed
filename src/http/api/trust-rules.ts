/** Routes of the trust rules of an organization, and of those of the registry. */

import * as z from 'zod';
import {
  deleteTrustRule,
  getTrustRule,
  listTrustRules,
  putTrustRule,
  ruleSubject,
  type TrustRule,
} from '../../app/trust-rules.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { type NewTrustRule, newTrustRule, savedTrustRuleSchema, trustRuleSchema } from '../../contract/trust-rules.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { shownWarnings } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, pageQueryOf } from './params.ts';

const GROUP = 'Trust rules';

const list = {
  group: GROUP,
  query: z.strictObject(PAGE_QUERY),
  answers: { 200: { description: 'A page of trust rules, by name', schema: pageSchema(trustRuleSchema) } },
} as const;
const read = { group: GROUP, answers: { 200: { description: 'The rule and its ETag', schema: trustRuleSchema } } } as const;
const save = {
  group: GROUP,
  description: `A CI job that matches the rule logs in with any user name and its own token as password; the job stores no
secret. Only the rules of \`acme\` and of the registry decide what a job may do in \`acme/api\`, and events name the rule
that allowed it. An organization has up to 50 rules, with up to 64 KB of claims and statements in total. A correctly signed
token that matches no rule is refused with the reason.`,
  conditional: true,
  body: newTrustRule,
  refusals: { 'limit-reached': 'The organization has 50 rules, or 64 KiB of claims and statements' },
  example: {
    body: {
      issuer: 'https://token.actions.githubusercontent.com',
      claims: { repository_id: '123456789', ref: 'refs/heads/main' },
      statements: [{ actions: ['pull', 'push'], repositories: ['acme/app'] }],
    },
  },
  answers: {
    200: { description: 'The changed rule', schema: savedTrustRuleSchema },
    201: { description: 'The created rule', schema: savedTrustRuleSchema },
  },
} as const;
const remove = { group: GROUP, conditional: true, answers: { 204: { description: 'The rule was deleted' } } } as const;

const OF_ORGANIZATION = '/organizations/:organization/trust-rules';

export const trustRules = new Hono<AppEnv>({ strict: false })
  .get('/trust-rules', operation({ ...list, summary: 'List the trust rules of the registry' }), (c) =>
    answerList(c, c.var.query),
  )
  .get('/trust-rules/:rule', operation({ ...read, summary: 'Read a trust rule of the registry' }), (c) => answerRule(c))
  .put('/trust-rules/:rule', operation({ ...save, summary: 'Save a trust rule of the registry' }), (c) =>
    answerSaved(c, c.var.body),
  )
  .delete('/trust-rules/:rule', operation({ ...remove, summary: 'Delete a trust rule of the registry' }), (c) => removeRule(c))
  .get(OF_ORGANIZATION, operation({ ...list, summary: 'List the trust rules of an organization' }), (c) =>
    answerList(c, c.var.query),
  )
  .get(`${OF_ORGANIZATION}/:rule`, operation({ ...read, summary: 'Read a trust rule' }), (c) => answerRule(c))
  .put(`${OF_ORGANIZATION}/:rule`, operation({ ...save, summary: 'Save a trust rule' }), (c) => answerSaved(c, c.var.body))
  .delete(`${OF_ORGANIZATION}/:rule`, operation({ ...remove, summary: 'Delete a trust rule' }), (c) => removeRule(c));

/** The organization in the path. An empty text on routes of the registry's own rules. */
function organizationIn(c: RequestContext): string {
  const organization = c.req.param('organization');
  return organization === undefined ? '' : parseName(organization);
}

function subjectIn(c: RequestContext): string {
  return ruleSubject(organizationIn(c), parseName(c.req.param('rule') ?? ''));
}

async function answerList(c: RequestContext, query: Parameters<typeof pageQueryOf>[0]): Promise<Response> {
  const page = await listTrustRules(callOf(c), organizationIn(c), pageQueryOf(query));
  return answerPage(page, shownRule, ({ name }) => name);
}

async function answerRule(c: RequestContext): Promise<Response> {
  const rule = await getTrustRule(callOf(c), subjectIn(c));
  return answer(shownRule(rule), { version: rule.version });
}

async function answerSaved(c: RequestContext, body: NewTrustRule): Promise<Response> {
  const { rule, warnings } = await putTrustRule(callOf(c), subjectIn(c), body, expectedVersion(c));
  const { version } = rule;
  return answer({ ...shownRule(rule), ...shownWarnings(warnings) }, { status: version === 1 ? 201 : 200, version });
}

async function removeRule(c: RequestContext): Promise<Response> {
  await deleteTrustRule(callOf(c), subjectIn(c), expectedVersion(c));
  return answerNothing();
}

function shownRule({ subject, createdAt, version: _, statements, ...rule }: TrustRule) {
  return {
    ...rule,
    name: subject.split(/[:/]/).at(-1) ?? '',
    principal: subject,
    statements: statements.map(({ principals: __, ...statement }) => statement),
    createdAt: timeOf(createdAt),
  };
}
