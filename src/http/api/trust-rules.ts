/** Routes of the trust rules of an organization, and of those of the whole registry. */

import * as z from 'zod';
import {
  deleteTrustRule,
  getTrustRule,
  listTrustRules,
  putTrustRule,
  ruleSubject,
  type TrustRule,
} from '../../app/trust-rules.ts';
import { PAGE_QUERY } from '../../contract/pages.ts';
import { type NewTrustRule, newTrustRule } from '../../contract/trust-rules.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { shownWarnings } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, pageQueryOf } from './params.ts';

const LISTED = { query: z.strictObject(PAGE_QUERY) };
const SAVED = { conditional: true, body: newTrustRule } as const;

const OF_ORGANIZATION = '/organizations/:organization/trust-rules';

export const trustRules = new Hono<AppEnv>({ strict: false })
  .get('/trust-rules', operation(LISTED), (c) => answerList(c, c.var.query))
  .get('/trust-rules/:rule', operation({}), (c) => answerRule(c))
  .put('/trust-rules/:rule', operation(SAVED), (c) => answerSaved(c, c.var.body))
  .delete('/trust-rules/:rule', operation({ conditional: true }), (c) => removeRule(c))
  .get(OF_ORGANIZATION, operation(LISTED), (c) => answerList(c, c.var.query))
  .get(`${OF_ORGANIZATION}/:rule`, operation({}), (c) => answerRule(c))
  .put(`${OF_ORGANIZATION}/:rule`, operation(SAVED), (c) => answerSaved(c, c.var.body))
  .delete(`${OF_ORGANIZATION}/:rule`, operation({ conditional: true }), (c) => removeRule(c));

/** Returns the organization in the path, or the empty string on routes of the whole registry's rules. */
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
