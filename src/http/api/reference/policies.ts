/** What the reference says about the routes in `../policies.ts`. */
import * as z from 'zod';
import { explanationSchema, policyPreviewSchema, policySchema } from '../../../contract/answers/policies.ts';
import type { Reference } from './described.ts';

const GROUP = 'Policies';

const read = {
  group: GROUP,
  answers: { 200: { description: 'The policy and its ETag', schema: policySchema } },
};

const save = {
  group: GROUP,
  description:
    'Replaces the whole policy. An action is allowed only if a statement allows it, and a statement that denies it wins.',
  answers: {
    200: {
      description: 'The saved policy and its new ETag; for a dry run, the rights that would change',
      schema: z.union([policySchema, policyPreviewSchema]),
    },
  },
};

const ofIdentity = { ...save, example: { body: { statements: [{ actions: 'push and pull', repositories: ['acme/*'] }] } } };
const ofRepository = {
  ...save,
  example: { body: { statements: [{ actions: 'push and pull', principals: ['team:acme/dev'] }] } },
};

export const policies: Reference = {
  'GET /users/:user/policy': { ...read, summary: "Read a user's policy" },
  'PUT /users/:user/policy': { ...ofIdentity, summary: "Save a user's policy" },
  'GET /organizations/:organization/teams/:team/policy': { ...read, summary: "Read a team's policy" },
  'PUT /organizations/:organization/teams/:team/policy': {
    ...ofIdentity,
    refusals: { 'limit-reached': 'The policies of the teams of a member would have more than 32 KiB' },
    summary: "Save a team's policy",
  },
  'GET /organizations/:organization/robots/:robot/policy': { ...read, summary: "Read a robot's policy" },
  'PUT /organizations/:organization/robots/:robot/policy': { ...ofIdentity, summary: "Save a robot's policy" },
  'GET /repositories/:name{.+}/-/policy': { ...read, summary: "Read a repository's policy" },
  'PUT /repositories/:name{.+}/-/policy': { ...ofRepository, summary: "Save a repository's policy" },
  'GET /explain': {
    group: GROUP,
    summary: 'Explain whether somebody may do something',
    description:
      'Tells whether an action is allowed, and which statement decides. About yourself, you need no right. About ' +
      'somebody else, you need the right to administer the repository. Administrators get complete answers, and ' +
      'owners about people and robots of their organizations. An answer about anybody else considers only the name ' +
      'and the policy of the repository, and is marked `partial`. A narrowed key gets answers about itself only.',
    example: { query: { principal: 'user:bob', action: 'push', repository: 'acme/app', tag: 'v1' } },
    refusals: {
      'not-found': 'The repository does not exist, or you may not know of it',
      forbidden: 'You ask about somebody else, and may not administer the repository',
    },
    answers: { 200: { description: 'The decision and the statements behind it', schema: explanationSchema } },
  },
};
