/** What the reference says about the routes in `../teams.ts`. */

import { teamMemberSchema, teamSchema } from '../../../contract/answers/organizations.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Teams';

export const teams: Reference = {
  'GET /organizations/:organization/teams': {
    group: GROUP,
    summary: 'List the teams of an organization',
    answers: { 200: { description: 'A page of teams, by name', schema: pageSchema(teamSchema) } },
  },
  'GET /organizations/:organization/teams/:team': {
    group: GROUP,
    summary: 'Read a team',
    answers: { 200: { description: 'The team and its ETag', schema: teamSchema } },
  },
  'PUT /organizations/:organization/teams/:team': {
    group: GROUP,
    summary: 'Create a team, or change its description',
    description:
      'A new team has no rights: save its policy next. The name of a deleted team is refused while policies of ' +
      'repositories still name that team.',
    example: { body: { description: 'Developers' } },
    refusals: {
      conflict: 'Policies still name a deleted team of this name',
      'limit-reached': 'The organization has 200 teams',
    },
    answers: {
      200: { description: 'The team existed. Its description was changed', schema: teamSchema },
      201: { description: 'The created team', schema: teamSchema },
    },
  },
  'DELETE /organizations/:organization/teams/:team': {
    group: GROUP,
    summary: 'Delete a team',
    description: 'Deletes its policy too. Statements of repositories that name the team have no effect afterwards.',
    answers: { 204: { description: 'The team was deleted' } },
  },
  'GET /organizations/:organization/teams/:team/members': {
    group: GROUP,
    summary: 'List the members of a team',
    answers: { 200: { description: 'A page of members, by name', schema: pageSchema(teamMemberSchema) } },
  },
  'PUT /organizations/:organization/teams/:team/members/:user': {
    group: GROUP,
    summary: 'Add a member of the organization to a team',
    example: { path: { user: 'bob' }, body: {} },
    refusals: {
      conflict: 'The user is not a member of the organization',
      'limit-reached': 'The team, or the teams of the user, have reached a limit',
    },
    answers: {
      200: { description: 'The user was a member already', schema: teamMemberSchema },
      201: { description: 'The user was added', schema: teamMemberSchema },
    },
  },
  'DELETE /organizations/:organization/teams/:team/members/:user': {
    group: GROUP,
    summary: 'Remove a member from a team, or leave it',
    example: { path: { user: 'bob' } },
    answers: { 204: { description: 'The member was removed' } },
  },
};
