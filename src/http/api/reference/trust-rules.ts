/** What the reference says about the routes in `../trust-rules.ts`. */

import { savedTrustRuleSchema, trustRuleSchema } from '../../../contract/answers/trust-rules.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Trust rules';

const list = {
  group: GROUP,
  answers: { 200: { description: 'A page of trust rules, by name', schema: pageSchema(trustRuleSchema) } },
};
const read = { group: GROUP, answers: { 200: { description: 'The rule and its ETag', schema: trustRuleSchema } } };
const save = {
  group: GROUP,
  description: `A CI job that matches the rule logs in with any user name and its own token as password; the job stores no
secret. Only the rules of \`acme\` and of the registry decide what a job may do in \`acme/api\`, and events name the rule
that allowed it. An organization has up to 50 rules, with up to 64 KB of claims and statements in total. A correctly signed
token that matches no rule is refused with the reason.`,
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
};
const remove = { group: GROUP, answers: { 204: { description: 'The rule was deleted' } } };

export const trustRules: Reference = {
  'GET /trust-rules': { ...list, summary: 'List the trust rules of the registry' },
  'GET /trust-rules/:rule': { ...read, summary: 'Read a trust rule of the registry' },
  'PUT /trust-rules/:rule': { ...save, summary: 'Save a trust rule of the registry' },
  'DELETE /trust-rules/:rule': { ...remove, summary: 'Delete a trust rule of the registry' },
  'GET /organizations/:organization/trust-rules': { ...list, summary: 'List the trust rules of an organization' },
  'GET /organizations/:organization/trust-rules/:rule': { ...read, summary: 'Read a trust rule' },
  'PUT /organizations/:organization/trust-rules/:rule': { ...save, summary: 'Save a trust rule' },
  'DELETE /organizations/:organization/trust-rules/:rule': { ...remove, summary: 'Delete a trust rule' },
};
