/** Who may do what, and why: for those who answer for a repository. */
import { Hono } from 'hono';
import * as z from 'zod';
import { shownStatement } from '../../app/statements.ts';
import { explainFor, whoCanGrant } from '../../auth/explain.ts';
import type { Sourced } from '../../auth/statement.ts';
import { recordOf } from '../../contract/fields.ts';
import { sourceSchema } from '../../contract/statements.ts';
import { jsonOf } from '../../oci/json.ts';
import { isRepositoryName } from '../../oci/name.ts';
import { matches } from '../../oci/pattern.ts';
import { isTag } from '../../oci/reference.ts';
import { ACTIONS } from '../../vocabulary/actions.ts';
import { isPrincipal } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { loadCallerAuthority } from '../authenticate.ts';
import type { AppEnv } from '../context.ts';
import { answer } from './answers.ts';
import { asks, requireRight } from './guard.ts';
import { operation } from './operation.ts';

const question = z.strictObject({
  principal: z
    .string()
    .refine((text) => isPrincipal(text) || /^(?:key|ci):/.test(text), 'is no principal')
    .describe('`user:…`, `robot:…/…`, `team:…/…`, `organization:…`, `key:…`, `ci:…`, or `*` for a stranger'),
  action: z.enum(ACTIONS),
  repository: z.string().refine(isRepositoryName, 'is no repository name'),
  tag: z.optional(z.string().refine(isTag, 'is no tag')),
  claims: z.optional(z.string().max(4000)).describe('Of a trust rule: the claims of the token, as a JSON object'),
});

const answerSchema = z.strictObject({
  allowed: z.boolean(),
  reason: z.string(),
  decidedBy: z.nullable(sourceSchema),
  matched: z.array(sourceSchema),
  limitedBy: z.nullable(z.string()).describe('The key whose own statements do not allow it'),
  grantedBy: z
    .array(z.string())
    .describe('Who could grant what is missing; `administrator` and `owner of acme` stand for people whom you may not know'),
  partial: z
    .optional(z.literal(true))
    .describe(
      'Judged by the name, and by what you may know: whether they are there, and what else they belong to, is not told',
    ),
});

export const explain = new Hono<AppEnv>({ strict: false }).get(
  '/explain',
  asks('login'),
  operation({
    group: 'Policies',
    summary: 'Whether somebody may do something, and why',
    description:
      'For whoever may administer the repository. Administrators are told all, owners all about people and robots of their organizations, everybody about themselves. Of others the answer rests on their name and on the policy of the repository, and is marked `partial`. A narrowed key is told about itself alone.',
    query: question,
    answers: { 200: { description: 'The answer, and the statements it rests on', schema: answerSchema } },
  }),
  async (c) => {
    const { principal, action, repository, tag = null, claims } = c.var.query;
    const asker = await loadCallerAuthority(c, c.var.caller.credential, [repository]);
    requireRight(c, asker, 'admin', repository);
    const asked = { principal, action, repository, tag, claims: claimsOf(claims) };
    const found = await explainFor(c.env, asked, asker);
    const grantedBy = found.allowed ? [] : await whoCanGrant(c.env, repository, asker);
    return answer({
      allowed: found.allowed,
      reason: found.reason,
      decidedBy: found.decidedBy && shownFor(repository, found.decidedBy),
      matched: found.matched.map((source) => shownFor(repository, source)),
      limitedBy: found.limitedBy,
      grantedBy,
      ...(found.partial ? { partial: true as const } : {}),
    });
  },
);

/** Of a statement that is about others as well, what makes it be about this one: whoever asks may not know of the others. */
function shownFor(repository: string, { from, statement }: Sourced) {
  const repositories = statement.repositories.filter((pattern) => matches(pattern, repository));
  return { from, ...shownStatement({ ...statement, repositories }) };
}

function claimsOf(text: string | undefined): Record<string, string> {
  const parsed = recordOf(z.string()).safeParse(text === undefined ? {} : jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new Refusal('request-invalid', { message: 'query.claims: is no JSON object of texts' });
}
