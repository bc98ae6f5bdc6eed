/** Statements as people send them, checked field by field. */
import * as z from 'zod';
import { shownPrincipal } from '../../auth/policy-names.ts';
import type { Sourced, Statement } from '../../auth/statement.ts';
import { isRepositoryPattern, isTagPattern } from '../../oci/pattern.ts';
import { ACTIONS, PRESETS, type Preset, TAG_ACTIONS } from '../../vocabulary/actions.ts';
import { PATTERNS_MAX, POLICY_MAX_BYTES, STATEMENTS_MAX } from '../../vocabulary/limits.ts';
import { isPrincipal } from '../../vocabulary/names.ts';

const presets = Object.keys(PRESETS) as [Preset, ...Preset[]];

export const effect = z.enum(['allow', 'deny']).default('allow');

export const actions = z
  .union([z.array(z.enum(ACTIONS)).min(1).max(ACTIONS.length), z.enum(presets)])
  .describe(`A list, or one of the usual sets: ${presets.map((name) => `\`${name}\``).join(', ')}`);

const repositoryPatterns = z
  .array(z.string().refine(isRepositoryPattern, 'is no repository name or pattern'))
  .min(1)
  .max(PATTERNS_MAX)
  .describe('Names, or patterns in which `*` stands for any run of characters, slashes included');

const tagPatterns = z
  .optional(z.array(z.string().refine(isTagPattern, 'is no tag or pattern')).min(1).max(PATTERNS_MAX))
  .describe('Only these tags; for `push`, `retag` and `delete`');

const principals = z
  .array(z.string().refine(isPrincipal, 'is no principal'))
  .min(1)
  .max(PATTERNS_MAX)
  .describe('`user:…`, `organization:…`, `team:…/…`, `robot:…/…`, or `*` for everybody, strangers included');

/** On a user, team, robot or key. */
export const identityStatement = z
  .strictObject({ effect, actions, repositories: repositoryPatterns, tags: tagPatterns })
  .superRefine(onlyWhereTagsCount);

/** On a repository. */
export const repositoryStatement = z
  .strictObject({ effect, actions, principals, tags: tagPatterns })
  .superRefine(onlyWhereTagsCount);

const LIMITS = `Up to ${STATEMENTS_MAX}, and ${POLICY_MAX_BYTES} bytes as JSON in all`;

export const identityStatements = z.array(identityStatement).max(STATEMENTS_MAX).describe(LIMITS);
export const repositoryStatements = z.array(repositoryStatement).max(STATEMENTS_MAX).describe(LIMITS);

type Sent = z.output<typeof identityStatement> | z.output<typeof repositoryStatement>;

/** What has a tag can be pulled by its digest as well: a statement that seems to limit that must not be saved. */
function onlyWhereTagsCount({ actions: sent, tags }: Sent, context: z.RefinementCtx): void {
  const others = listOf(sent).filter((action) => !TAG_ACTIONS.includes(action));
  if (!tags || others.length === 0) return;
  const message = `tags narrow push, retag and delete only: put ${others.join(', ')} into a statement without tags`;
  context.addIssue({ code: 'custom', path: ['tags'], message });
}

function listOf(sent: Sent['actions']): Statement['actions'] {
  return typeof sent === 'string' ? PRESETS[sent] : sent;
}

/** As they are kept: in one order, whatever they came in. */
export function actionsOf(sent: Sent['actions']): Statement['actions'] {
  const listed = listOf(sent);
  return ACTIONS.filter((action) => listed.includes(action));
}

/** As the engine reads it. A repository's own statement is about that repository, which `onRepository` says. */
export function statementOf(sent: Sent): Statement {
  const { effect: given, actions: listed, tags } = sent;
  return {
    effect: given,
    actions: actionsOf(listed),
    repositories: 'repositories' in sent ? sent.repositories : [],
    ...('principals' in sent ? { principals: sent.principals } : {}),
    ...(tags ? { tags } : {}),
  };
}

/** As they are answered. */
export const statementSchema = z.strictObject({
  effect: z.enum(['allow', 'deny']),
  actions: z.array(z.enum(ACTIONS)),
  repositories: z.optional(z.array(z.string())),
  principals: z.optional(z.array(z.string())),
  tags: z.optional(z.array(z.string())),
});

export function shownStatement({ repositories, ...rest }: Statement) {
  return {
    ...rest,
    actions: [...rest.actions],
    ...(repositories.length > 0 ? { repositories: [...repositories] } : {}),
    ...(rest.principals ? { principals: rest.principals.map(shownPrincipal) } : {}),
    ...(rest.tags ? { tags: [...rest.tags] } : {}),
  };
}

/** A statement and where it hangs. */
export const sourceSchema = statementSchema.extend({ from: z.string() });

export function shownSource({ from, statement }: Sourced) {
  return { from, ...shownStatement(statement) };
}
