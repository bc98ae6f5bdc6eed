/** Trust rules: which tokens of outside issuers are somebody here, and what they may do. Of an organization, or of the registry. */
import { Hono } from 'hono';
import * as z from 'zod';
import type { RuleStatement } from '../../auth/outside/oidc.ts';
import { deleteRule, getRule, listRules, putRule, type StoredRule } from '../../auth/outside/trust-rules.ts';
import { getOrganization } from '../../auth/people/organizations.ts';
import { pushWithoutPull } from '../../auth/policy-warnings.ts';
import { recordOf } from '../../contract/fields.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { actions, actionsIn, effect } from '../../contract/statements.ts';
import { ACTIONS } from '../../vocabulary/actions.ts';
import { RULE_LIFETIME_DEFAULT, RULE_LIFETIME_MAX, RULE_LIFETIME_MIN } from '../../vocabulary/limits.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, actorOf, type RequestContext, runtimeOf } from '../context.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { asks } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion, pageQueryOf } from './params.ts';

const GROUP = 'Trust rules';

const conditions = recordOf(z.union([z.string().max(500), z.array(z.string().max(500)).max(20)])).describe(
  'By claim: a pattern, or several of which one must match. `*` stands for any run of characters.',
);

const patterns = z.array(z.string().max(300)).min(1).max(20);

const statement = z.strictObject({
  effect,
  actions,
  repositories: patterns.describe('May hold `{claim}`: what the token says'),
  tags: z
    .optional(patterns)
    .describe(
      'For `push`, `retag` and `delete`. May hold `{claim}`, `{ref_name}` and `{pull_request}`: `pr-{pull_request}-*`. Two values never give one tag: `feature/x` is `feature..x`, and a value is separated from a star by two dashes, `{ref_name}--*`',
    ),
  when: z
    .optional(conditions)
    .describe(
      'Further conditions. Jobs that something else than the repository\'s own refs set off, such as `pull_request*`, `workflow_run` and `issue_comment` (`event_name`), or `merge_request_event` and `parent_pipeline` (GitLab\'s `pipeline_source`), have only what names that or asks for `ref_protected: "true"`',
    ),
});

const body = z.strictObject({
  issuer: z.string().max(500).describe('As its tokens say: `https://token.actions.githubusercontent.com`'),
  audience: z
    .optional(z.string().min(1).max(500))
    .describe("What its tokens must be for; this registry's host where nothing is said"),
  claims: conditions.describe(
    'Conditions that all must hold. At least one narrows; for GitHub and GitLab by id, as names change hands',
  ),
  statements: z.array(statement).min(1).max(20),
  description: z.optional(z.string().max(500)),
  lifetime: z
    .int()
    .min(RULE_LIFETIME_MIN)
    .max(RULE_LIFETIME_MAX)
    .default(RULE_LIFETIME_DEFAULT)
    .describe(
      'Seconds that a login goes on, however soon its CI token expires. It ends at once when the rule is changed or deleted',
    ),
  disabled: z.boolean().default(false).describe('Lets nobody in, and ends the logins that there are'),
});

const ruleSchema = z.strictObject({
  name: z.string(),
  principal: z.string(),
  issuer: z.string(),
  audience: z.string(),
  claims: z.record(z.string(), z.union([z.string(), z.array(z.string())])),
  statements: z.array(
    z.strictObject({
      effect: z.enum(['allow', 'deny']),
      actions: z.array(z.enum(ACTIONS)),
      repositories: z.array(z.string()),
      tags: z.optional(z.array(z.string())),
      when: z.optional(z.record(z.string(), z.union([z.string(), z.array(z.string())]))),
    }),
  ),
  description: z.string(),
  lifetime: z.int(),
  disabled: z.boolean(),
  createdAt: z.iso.datetime(),
});

const list = {
  group: GROUP,
  query: z.strictObject(PAGE_QUERY),
  answers: { 200: { description: 'A page of them, by name', schema: pageSchema(ruleSchema) } },
} as const;
const read = { group: GROUP, answers: { 200: { description: 'The rule, and its ETag', schema: ruleSchema } } } as const;
/** A rule after it was saved. */
const savedSchema = ruleSchema.extend({
  warnings: z
    .optional(z.array(z.string()))
    .describe('What it allows and is hardly meant, as push without pull, which docker needs'),
});

const save = {
  group: GROUP,
  description: `A job then logs in with any user name and its own token as password: nothing is stored with it. What it may do in
\`acme/api\` is said by the rules of \`acme\` and of the registry alone, and events name the rule that allowed it. An organization has up to 50
rules, and 64 KB of claims and statements in all. Whoever shows a token with a right signature that no rule takes is told why.`,
  conditional: true,
  body,
  answers: {
    200: { description: 'Changed', schema: savedSchema },
    201: { description: 'Made', schema: savedSchema },
  },
} as const;
const remove = { group: GROUP, conditional: true, answers: { 204: { description: 'Deleted' } } } as const;

const OF_ORGANIZATION = '/organizations/:organization/trust-rules';

export const trustRules = new Hono<AppEnv>({ strict: false })
  .get('/trust-rules', asks('administrator'), operation({ ...list, summary: 'Trust rules of the registry as a whole' }), (c) =>
    answerList(c, c.var.query),
  )
  .get('/trust-rules/:rule', asks('administrator'), operation({ ...read, summary: 'A trust rule of the registry' }), (c) =>
    answerRule(c),
  )
  .put('/trust-rules/:rule', asks('administrator'), operation({ ...save, summary: 'Save a trust rule of the registry' }), (c) =>
    saveRule(c, c.var.body),
  )
  .delete(
    '/trust-rules/:rule',
    asks('administrator'),
    operation({ ...remove, summary: 'Delete a trust rule of the registry' }),
    (c) => removeRule(c),
  )
  .get(OF_ORGANIZATION, asks('owner'), operation({ ...list, summary: 'Trust rules of an organization' }), (c) =>
    answerList(c, c.var.query),
  )
  .get(`${OF_ORGANIZATION}/:rule`, asks('owner'), operation({ ...read, summary: 'A trust rule' }), (c) => answerRule(c))
  .put(`${OF_ORGANIZATION}/:rule`, asks('owner'), operation({ ...save, summary: 'Save a trust rule' }), (c) =>
    saveRule(c, c.var.body),
  )
  .delete(`${OF_ORGANIZATION}/:rule`, asks('owner'), operation({ ...remove, summary: 'Delete a trust rule' }), (c) =>
    removeRule(c),
  );

/** Empty for rules of the registry as a whole. */
function organizationIn(c: RequestContext): string {
  const organization = c.req.param('organization');
  return organization === undefined ? '' : parseName(organization);
}

function subjectIn(c: RequestContext): string {
  return subjectOf(organizationIn(c), parseName(c.req.param('rule') ?? ''));
}

function subjectOf(organization: string, name: string): string {
  return organization === '' ? `ci:${name}` : `ci:${organization}/${name}`;
}

async function answerList(c: RequestContext, query: Parameters<typeof pageQueryOf>[0]): Promise<Response> {
  const organization = organizationIn(c);
  if (organization !== '') await getOrganization(c.env, organization);
  const { after, limit } = pageQueryOf(query);
  const page = await listRules(c.env, organization, { after: after && subjectOf(organization, after), limit });
  return answerPage(page, shownRule, ({ name }) => name);
}

async function answerRule(c: RequestContext): Promise<Response> {
  const rule = await getRule(c.env, subjectIn(c));
  return answer(shownRule(rule), { version: rule.version });
}

async function saveRule(c: RequestContext, { statements, audience, description = '', ...rest }: z.output<typeof body>) {
  const rule = {
    ...rest,
    subject: subjectIn(c),
    audience: audience ?? runtimeOf(c).service,
    description,
    statements: statements.map(statementOf),
  };
  const saved = await putRule(c.env, rule, { ifVersion: expectedVersion(c), by: actorOf(c) });
  const warnings = pushWithoutPull(saved.statements, 'identity');
  const shown = { ...shownRule(saved), ...(warnings.length > 0 ? { warnings } : {}) };
  return answer(shown, { status: saved.version === 1 ? 201 : 200, version: saved.version });
}

async function removeRule(c: RequestContext): Promise<Response> {
  await deleteRule(c.env, subjectIn(c), { ifVersion: expectedVersion(c), by: actorOf(c) });
  return answerNothing();
}

function statementOf({ actions: sent, tags, when, ...rest }: z.output<typeof statement>): RuleStatement {
  return {
    ...rest,
    actions: actionsIn(sent),
    ...(tags ? { tags } : {}),
    ...(when ? { when } : {}),
  };
}

function shownRule({ subject, createdAt, version: _, statements, ...rule }: StoredRule) {
  return {
    ...rule,
    name: subject.split(/[:/]/).at(-1) ?? '',
    principal: subject,
    statements: statements.map(({ principals: __, ...statement }) => statement),
    createdAt: timeOf(createdAt),
  };
}
