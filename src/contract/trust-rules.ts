/** Schemas of trust rules in the management API. */
import * as z from 'zod';

import { RULE_LIFETIME_DEFAULT, RULE_LIFETIME_MAX, RULE_LIFETIME_MIN } from '../vocabulary/limits.ts';
import { recordOf } from './fields.ts';
import { actions, effect } from './statements.ts';

const conditions = recordOf(z.union([z.string().max(500), z.array(z.string().max(500)).max(20)])).describe(
  'For each claim a pattern, or several of which one must match. `*` matches any characters',
);

const patterns = z.array(z.string().max(300)).min(1).max(20);

const statement = z.strictObject({
  effect,
  actions,
  repositories: patterns.describe('Names or patterns. `{claim}` stands for the value of that claim in the token'),
  tags: z
    .optional(patterns)
    .describe(
      'Limits `push`, `retag` and `delete`. May contain `{claim}`, `{ref_name}` and `{pull_request}`: ' +
        '`pr-{pull_request}-*`. Different values never become the same tag: `feature/x` becomes `feature..x`, and two ' +
        'dashes separate a value from a star, as in `{ref_name}--*`',
    ),
  when: z
    .optional(conditions)
    .describe(
      "Further conditions of this statement. A job of a pull request (`event_name` is `pull_request*`, or GitLab's " +
        '`pipeline_source` is `merge_request_event`) only gets statements that name this event. A job that something ' +
        "else outside the repository's own refs started, such as `workflow_run`, `issue_comment` or GitLab's " +
        '`parent_pipeline`, only gets statements that name it or require `ref_protected: "true"`',
    ),
});

export const newTrustRule = z.strictObject({
  issuer: z.string().max(500).describe('The `iss` of its tokens, such as `https://token.actions.githubusercontent.com`'),
  audience: z.optional(z.string().min(1).max(500)).describe("The `aud` that tokens must have. Default: this registry's host"),
  claims: conditions.describe(
    'Conditions that all must hold. At least one must identify somebody; for GitHub and GitLab by id, because names ' +
      'can pass to others',
  ),
  statements: z.array(statement).min(1).max(20),
  description: z.optional(z.string().max(500)).describe('What the rule is for'),
  lifetime: z
    .int()
    .min(RULE_LIFETIME_MIN)
    .max(RULE_LIFETIME_MAX)
    .default(RULE_LIFETIME_DEFAULT)
    .describe(
      'Seconds that a login lasts, even if its CI token expires sooner. It ends at once when the rule is changed or deleted',
    ),
  disabled: z.boolean().default(false).describe('Allows no new logins and ends existing ones'),
});

export type NewTrustRule = z.output<typeof newTrustRule>;
