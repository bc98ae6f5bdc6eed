/** What the reference says about the routes in `../organizations.ts`. */

import {
  invitedMemberSchema,
  memberInvitationSchema,
  memberSchema,
  organizationSchema,
} from '../../../contract/answers/organizations.ts';
import { removedSchema } from '../../../contract/fields.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Organizations';

export const organizations: Reference = {
  'GET /organizations': {
    group: GROUP,
    summary: 'List your organizations',
    description: 'Administrators get all organizations.',
    refusals: { forbidden: 'The key is narrowed' },
    answers: { 200: { description: 'A page of organizations, by name', schema: pageSchema(organizationSchema) } },
  },
  'GET /organizations/:organization': {
    group: GROUP,
    summary: 'Read an organization',
    answers: { 200: { description: 'The organization and its ETag', schema: organizationSchema } },
  },
  'PUT /organizations/:organization': {
    group: GROUP,
    summary: 'Create an organization, or change its description',
    description: 'A new organization has no members: add an owner next. A name that looks like an existing one is refused.',
    example: { body: { description: 'Rockets and anvils' } },
    refusals: { 'name-taken': 'The name, or one that looks like it, is taken' },
    answers: {
      200: { description: 'The organization existed. Its description was changed', schema: organizationSchema },
      201: { description: 'The created organization', schema: organizationSchema },
    },
  },
  'PATCH /organizations/:organization': {
    group: GROUP,
    summary: "Change an organization's description",
    example: { body: { description: 'Rockets, anvils and paint' } },
    answers: { 200: { description: 'The changed organization and its new ETag', schema: organizationSchema } },
  },
  'DELETE /organizations/:organization': {
    group: GROUP,
    summary: 'Delete an organization',
    description:
      'Refused while the organization has repositories. Its members, teams, robots, keys, trust rules and webhooks ' +
      'are deleted with it, and nobody can take its name again.',
    refusals: { 'not-empty': 'The organization has repositories' },
    answers: { 204: { description: 'The organization was deleted' } },
  },
  'GET /organizations/:organization/members': {
    group: GROUP,
    summary: 'List the members of an organization',
    answers: { 200: { description: 'A page of members, by name', schema: pageSchema(memberSchema) } },
  },
  'PUT /organizations/:organization/members/:user': {
    group: GROUP,
    summary: 'Invite a user to an organization, or change the role of a member',
    description: `A user who is not a member yet has to accept: \`POST /me/invitations/{organization}/accept\`. An
administrator of the registry adds users without asking them. The role of the last owner cannot be changed.`,
    example: { path: { user: 'bob' }, body: { role: 'member' } },
    refusals: {
      'last-owner': 'The user is the last owner',
      'limit-reached': 'The user or the organization has reached a limit',
    },
    answers: {
      200: { description: "The member's role was updated", schema: memberSchema },
      201: { description: 'An administrator added the user', schema: memberSchema },
      202: { description: 'The user is invited and becomes a member on accepting', schema: invitedMemberSchema },
    },
  },
  'DELETE /organizations/:organization/members/:user': {
    group: GROUP,
    summary: 'Remove a member from an organization, or leave it',
    example: { path: { user: 'bob' } },
    description:
      'Owners may remove any member, and members may remove themselves. The member also leaves all teams of the ' +
      "organization. Statements that allow the member something in the organization's repositories no longer name " +
      'the member; statements that deny something stay. The last owner cannot be removed.',
    refusals: { 'last-owner': 'The user is the last owner' },
    answers: {
      200: {
        description: 'The member was removed. The answer lists the repositories whose policies changed',
        schema: removedSchema,
      },
      204: { description: 'The member was removed. No policy named the member' },
    },
  },
  'GET /organizations/:organization/invitations': {
    group: GROUP,
    summary: 'List the open invitations of an organization',
    answers: { 200: { description: 'A page of invitations, by user', schema: pageSchema(memberInvitationSchema) } },
  },
  'DELETE /organizations/:organization/invitations/:user': {
    group: GROUP,
    summary: 'Withdraw an invitation to an organization',
    example: { path: { user: 'bob' } },
    answers: { 204: { description: 'The user has no open invitation' } },
  },
};
