/** Schemas of policy statements in requests and answers of the management API. */
import * as z from 'zod';
import { isRepositoryPattern, isTagPattern } from '../oci/pattern.ts';
import { ACTIONS, PRESETS, type Preset, type RepositoryAction, TAG_ACTIONS } from '../vocabulary/actions.ts';
import { PATTERNS_MAX, POLICY_MAX_BYTES, STATEMENTS_MAX } from '../vocabulary/limits.ts';
import { isPrincipal } from '../vocabulary/names.ts';

const presets = Object.keys(PRESETS) as [Preset, ...Preset[]];

export const effect = z.enum(['allow', 'deny']).default('allow');

export const actions = z
  .union([z.array(z.enum(ACTIONS)).min(1).max(ACTIONS.length), z.enum(presets)])
  .describe(`A list of actions, or one of the presets ${presets.map((name) => `\`${name}\``).join(', ')}`);

const repositoryPatterns = z
  .array(z.string().refine(isRepositoryPattern, 'must be a repository name or pattern, such as acme/api or acme/*'))
  .min(1)
  .max(PATTERNS_MAX)
  .describe('Repository names or patterns. `*` matches any characters, including slashes');

const tagPatterns = z
  .optional(z.array(z.string().refine(isTagPattern, 'must be a tag or pattern, such as v1 or v*')).min(1).max(PATTERNS_MAX))
  .describe('Limits `push`, `retag` and `delete` to matching tags');

const principals = z
  .array(
    z
      .string()
      .refine(isPrincipal, 'must be user:NAME, organization:NAME, team:ORGANIZATION/NAME, robot:ORGANIZATION/NAME or *'),
  )
  .min(1)
  .max(PATTERNS_MAX)
  .describe('`*` stands for everybody, including anonymous callers');

/** A statement in the policy of a user, team or robot, or in an access key. */
const identityStatement = z
  .strictObject({ effect, actions, repositories: repositoryPatterns, tags: tagPatterns })
  .superRefine(onlyActionsWithTags);

/** A statement in the policy of a repository. */
const repositoryStatement = z.strictObject({ effect, actions, principals, tags: tagPatterns }).superRefine(onlyActionsWithTags);

const LIMITS = `All statements together may have ${POLICY_MAX_BYTES} bytes as JSON`;

export const identityStatements = z.array(identityStatement).max(STATEMENTS_MAX).describe(LIMITS);
export const repositoryStatements = z.array(repositoryStatement).max(STATEMENTS_MAX).describe(LIMITS);

/** The statements of one policy as they were sent. */
export type SentStatement = z.output<typeof identityStatement> | z.output<typeof repositoryStatement>;

/**
 * Reports an error if a statement has tags and an action that tags cannot limit, such as `pull`: a tagged image can also be
 * pulled by its digest.
 */
function onlyActionsWithTags({ actions: sent, tags }: SentStatement, context: z.RefinementCtx): void {
  const others = actionsIn(sent).filter((action) => !TAG_ACTIONS.includes(action));
  if (!tags || others.length === 0) return;
  const message = `tags limit only push, retag and delete: put ${others.join(', ')} into a statement without tags`;
  context.addIssue({ code: 'custom', path: ['tags'], message });
}

/** Returns the actions of a list or of a preset, in the order of `ACTIONS`. */
export function actionsIn(sent: z.output<typeof actions>): RepositoryAction[] {
  const listed: readonly RepositoryAction[] = typeof sent === 'string' ? PRESETS[sent] : sent;
  return ACTIONS.filter((action) => listed.includes(action));
}
