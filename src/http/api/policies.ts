/** Policies: the statements that hang on a user, a team, a robot or a repository. Each is read and saved as one document. */
import { Hono } from 'hono';
import * as z from 'zod';
import { shownStatement, storedStatement as statementOf } from '../../app/statements.ts';
import { readPolicy, requireSubject, savePolicy } from '../../auth/policies.ts';
import { withShownPrincipals } from '../../auth/policy-names.ts';
import { previewPolicy } from '../../auth/policy-preview.ts';
import { pushWithoutPull } from '../../auth/policy-warnings.ts';
import type { Statement } from '../../auth/statement.ts';
import { reachOf } from '../../auth/visibility.ts';
import { identityStatements, repositoryStatements, statementSchema } from '../../contract/statements.ts';
import { listRepositories, requireInBatch } from '../../registry/repositories/repositories.ts';
import { ACTIONS } from '../../vocabulary/actions.ts';
import { nameOf, parseName } from '../../vocabulary/names.ts';
import { authorityOf } from '../authorize.ts';
import { type AppEnv, actorOf, type RequestContext } from '../context.ts';
import { answer } from './answers.ts';
import { asks, asksFor } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion, subjectIn } from './params.ts';

const GROUP = 'Policies';

const warnings = z
  .optional(z.array(z.string()))
  .describe(
    'Of names that nobody has, or that you may not know of: a name is bound to whoever has it when the policy is saved. And of push without pull, as docker needs both',
  );

const policySchema = z.strictObject({ statements: z.array(statementSchema), warnings });

const right = z.strictObject({ action: z.enum(ACTIONS), tags: z.optional(z.array(z.string())) });

const previewSchema = z.strictObject({
  changes: z.array(
    z.strictObject({ principal: z.string(), repository: z.string(), gains: z.array(right), loses: z.array(right) }),
  ),
  truncated: z.boolean().describe('There was more to compare than one request may'),
  warnings,
});

const read = {
  group: GROUP,
  answers: { 200: { description: 'The policy, and its ETag', schema: policySchema } },
} as const;

const save = {
  group: GROUP,
  description: 'Replaces the whole policy. Nothing is allowed that no statement allows, and one that denies wins.',
  conditional: true,
  query: z.strictObject({
    dryRun: z.optional(z.enum(['true', 'false'])).describe('`true`: nothing is saved; says who would gain and lose what'),
  }),
  answers: {
    200: {
      description: 'Saved; the new ETag. Of a dry run: what would change',
      schema: z.union([policySchema, previewSchema]),
    },
  },
} as const;

const identityBody = z.strictObject({ statements: identityStatements });
const repositoryBody = z.strictObject({ statements: repositoryStatements });

export const policies = new Hono<AppEnv>({ strict: false })
  .get('/users/:user/policy', asks('administrator'), operation({ ...read, summary: "A user's policy" }), async (c) =>
    answerPolicy(c, `user:${parseName(c.req.param('user'))}`),
  )
  .put(
    '/users/:user/policy',
    asks('administrator'),
    operation({ ...save, summary: "Save a user's policy", body: identityBody }),
    async (c) => saveIdentity(c, `user:${parseName(c.req.param('user'))}`, c.var.body.statements.map(statementOf)),
  )
  .get(
    '/organizations/:organization/teams/:team/policy',
    asks('owner'),
    operation({ ...read, summary: "A team's policy" }),
    async (c) => answerPolicy(c, subjectIn(c, 'team')),
  )
  .put(
    '/organizations/:organization/teams/:team/policy',
    asks('owner'),
    operation({ ...save, summary: "Save a team's policy", body: identityBody }),
    async (c) => saveIdentity(c, subjectIn(c, 'team'), c.var.body.statements.map(statementOf)),
  )
  .get(
    '/organizations/:organization/robots/:robot/policy',
    asks('owner'),
    operation({ ...read, summary: "A robot's policy" }),
    async (c) => answerPolicy(c, subjectIn(c, 'robot')),
  )
  .put(
    '/organizations/:organization/robots/:robot/policy',
    asks('owner'),
    operation({ ...save, summary: "Save a robot's policy", body: identityBody }),
    async (c) => saveIdentity(c, subjectIn(c, 'robot'), c.var.body.statements.map(statementOf)),
  )
  .get(
    '/repositories/:name{.+}/-/policy',
    asksFor('admin'),
    operation({ ...read, summary: "A repository's policy" }),
    async (c) => answerPolicy(c, `repository:${c.var.repository}`, [requireInBatch(c.env, c.var.repository)]),
  )
  .put(
    '/repositories/:name{.+}/-/policy',
    asksFor('admin'),
    operation({ ...save, summary: "Save a repository's policy", body: repositoryBody }),
    async (c) => {
      const { repository, body } = c.var;
      const guard = [requireInBatch(c.env, repository)];
      return answerSaved(c, `repository:${repository}`, body.statements.map(statementOf), guard);
    },
  );

type SavingContext = RequestContext & { var: { query: { dryRun?: string | undefined } } };

async function answerPolicy(c: RequestContext, subject: string, guard = [requireSubject(c.env, subject)]): Promise<Response> {
  const policy = await readPolicy(c.env, subject, { guard, asker: authorityOf(c) });
  return answer(shownPolicy(subject, policy.statements, policy.warnings), { version: policy.version });
}

function saveIdentity(c: SavingContext, subject: string, statements: Statement[]): Promise<Response> {
  return answerSaved(c, subject, statements, [requireSubject(c.env, subject)]);
}

/** Repositories that a dry run looks at. */
const PREVIEW_MAX = 100;

async function answerSaved(
  c: SavingContext,
  subject: string,
  statements: Statement[],
  guard: D1PreparedStatement[],
): Promise<Response> {
  if (c.var.query.dryRun === 'true') return answerPreview(c, subject, statements, guard);
  const change = { ifVersion: expectedVersion(c), by: actorOf(c), guard, asker: authorityOf(c) };
  const saved = await savePolicy(c.env, subject, statements, change);
  return answer(shownPolicy(subject, statements, saved.warnings), { version: saved.version });
}

function shownPolicy(subject: string, statements: readonly Statement[], ofNames: readonly string[]) {
  return { statements: statements.map(shownStatement), ...warningsIn(subject, statements, ofNames) };
}

function warningsIn(subject: string, statements: readonly Statement[], ofNames: readonly string[]): { warnings?: string[] } {
  const whose = subject.startsWith('repository:') ? 'repository' : 'identity';
  const said = [...ofNames, ...pushWithoutPull(statements.map(withShownPrincipals), whose)];
  return said.length > 0 ? { warnings: said } : {};
}

async function answerPreview(
  c: RequestContext,
  subject: string,
  after: Statement[],
  guard: D1PreparedStatement[],
): Promise<Response> {
  const policy = await readPolicy(c.env, subject, { guard, asker: authorityOf(c), planned: after });
  const before = policy.statements;
  const { items, more } = subject.startsWith('repository:')
    ? { items: [nameOf(subject)], more: false }
    : await listRepositories(
        c.env,
        { after: '', limit: PREVIEW_MAX },
        reachOf([...before, ...after].flatMap(({ repositories }) => repositories)),
      );
  const plan = { before, after, repositories: items };
  const { changes, truncated } = await previewPolicy(c.env, subject, plan, authorityOf(c));
  return answer({ changes, truncated: truncated || more, ...warningsIn(subject, after, policy.warnings) });
}
