/** Schemas of policy statements in requests and answers of the management API. */
import * as z from 'zod';
import { isRepositoryPattern, isTagPattern } from '../oci/pattern.ts';
import { ACTIONS, PRESETS, type Preset, type RepositoryAction, TAG_ACTIONS } from '../vocabulary/actions.ts';
import {
  CONDITION_KEYS,
  CONDITION_OPERATORS,
  CONDITION_VALUE_MAX,
  CONDITIONS_MAX,
  type ConditionOperator,
} from '../vocabulary/conditions.ts';
import { PATTERNS_MAX, POLICY_MAX_BYTES, STATEMENTS_MAX } from '../vocabulary/limits.ts';
import { EVERYONE, isPrincipal } from '../vocabulary/names.ts';

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

export const condition = z.strictObject({
  operator: z.enum(Object.values(CONDITION_OPERATORS).flat() as [ConditionOperator, ...ConditionOperator[]]),
  key: z.enum(CONDITION_KEYS),
  values: z.array(z.string().min(1).max(CONDITION_VALUE_MAX)).min(1).max(PATTERNS_MAX),
});

const conditions = z
  .optional(
    z
      .array(condition)
      .min(1)
      .max(CONDITIONS_MAX)
      .refine((all) => new Set(all.map(({ operator, key }) => `${operator} ${key}`)).size === all.length, {
        error: 'must name each pair of operator and key once: put all values into one condition',
      }),
  )
  .describe(
    'The statement applies to a request only if all of these hold. A condition holds if one of its values fits, and ' +
      'one with a negated operator if none does. Operators and keys are those of AWS',
  );

/** A statement of an access key. */
const limitStatement = z
  .strictObject({ effect, actions, repositories: repositoryPatterns, tags: tagPatterns })
  .superRefine(onlyActionsWithTags);

/** A statement in the policy of a user, team or robot. */
const identityStatement = z
  .strictObject({ effect, actions, repositories: repositoryPatterns, tags: tagPatterns, conditions })
  .superRefine(onlyActionsWithTags);

/** A statement in the policy of a repository. */
const repositoryStatement = z
  .strictObject({
    effect,
    actions,
    principals,
    except: z.optional(principals).describe('With `deny` and the principal `*`: those to whom the statement does not apply'),
    tags: tagPatterns,
    conditions,
  })
  .superRefine(onlyActionsWithTags)
  .superRefine(onlyDenialsWithExceptions);

const LIMITS = `All statements together may have ${POLICY_MAX_BYTES} bytes as JSON`;

export const limitStatements = z.array(limitStatement).max(STATEMENTS_MAX).describe(LIMITS);
export const identityStatements = z.array(identityStatement).max(STATEMENTS_MAX).describe(LIMITS);
export const repositoryStatements = z.array(repositoryStatement).max(STATEMENTS_MAX).describe(LIMITS);

/** The statements of one policy as they were sent. */
export type SentStatement =
  | z.output<typeof limitStatement>
  | z.output<typeof identityStatement>
  | z.output<typeof repositoryStatement>;

/** Refuses exceptions from a statement that allows. They would allow something to everybody else, also to anonymous callers. */
function onlyDenialsWithExceptions(
  { effect: given, principals: named, except }: { effect: string; principals: string[]; except?: string[] | undefined },
  context: z.RefinementCtx,
): void {
  if (!except || (given === 'deny' && named.length === 1 && named[0] === EVERYONE)) return;
  const message = 'except goes with the effect deny and the principal * only: name those to whom the statement applies';
  context.addIssue({ code: 'custom', path: ['except'], message });
}

/**
 * Reports an error if a statement has tags and an action that tags cannot limit, such as `pull`: a tagged image can also be
 * pulled by its digest.
 */
function onlyActionsWithTags(
  { actions: sent, tags }: { actions: z.output<typeof actions>; tags?: string[] | undefined },
  context: z.RefinementCtx,
): void {
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
