/** Routes of organizations and their members. */

import * as z from 'zod';
import {
  deleteOrganization,
  describeOrganization,
  getOrganization,
  listInvitations,
  listMembers,
  listOrganizations,
  type MemberInvitation,
  type Organization,
  putMember,
  putOrganization,
  removeMember,
  withdrawInvitation,
} from '../../app/organizations.ts';
import { removedSchema } from '../../contract/fields.ts';
import {
  invitedMemberSchema,
  memberChange,
  memberInvitationSchema,
  memberSchema,
  organizationChange,
  organizationSchema,
} from '../../contract/organizations.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, answerRemoved, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn, pageQueryOf } from './params.ts';

const GROUP = 'Organizations';

const query = z.strictObject(PAGE_QUERY);

export const organizations = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations',
    operation({
      group: GROUP,
      summary: 'List your organizations',
      description: 'Administrators get all organizations.',
      query,
      refusals: { forbidden: 'The key is narrowed' },
      answers: { 200: { description: 'A page of organizations, by name', schema: pageSchema(organizationSchema) } },
    }),
    async (c) => answerPage(await listOrganizations(callOf(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get(
    '/organizations/:organization',
    operation({
      group: GROUP,
      summary: 'Read an organization',
      answers: { 200: { description: 'The organization and its ETag', schema: organizationSchema } },
    }),
    async (c) => answerOrganization(await getOrganization(callOf(c), organizationIn(c))),
  )
  .put(
    '/organizations/:organization',
    operation({
      group: GROUP,
      summary: 'Create an organization, or change its description',
      description: 'A new organization has no members: add an owner next. A name that looks like an existing one is refused.',
      conditional: true,
      body: organizationChange,
      example: { body: { description: 'Rockets and anvils' } },
      refusals: { 'name-taken': 'The name, or one that looks like it, is taken' },
      answers: {
        200: { description: 'The organization existed. Its description was changed', schema: organizationSchema },
        201: { description: 'The created organization', schema: organizationSchema },
      },
    }),
    async (c) => {
      const { description } = c.var.body;
      const { organization, created } = await putOrganization(callOf(c), organizationIn(c), description, expectedVersion(c));
      return answerOrganization(organization, created ? 201 : 200);
    },
  )
  .patch(
    '/organizations/:organization',
    operation({
      group: GROUP,
      summary: "Change an organization's description",
      conditional: true,
      body: organizationChange,
      example: { body: { description: 'Rockets, anvils and paint' } },
      answers: { 200: { description: 'The changed organization and its new ETag', schema: organizationSchema } },
    }),
    async (c) => {
      const { description } = c.var.body;
      return answerOrganization(await describeOrganization(callOf(c), organizationIn(c), description, expectedVersion(c)));
    },
  )
  .delete(
    '/organizations/:organization',
    operation({
      group: GROUP,
      summary: 'Delete an organization',
      description:
        'Refused while the organization has repositories. Its members, teams, robots, keys, trust rules and webhooks ' +
        'are deleted with it, and nobody can take its name again.',
      conditional: true,
      refusals: { 'not-empty': 'The organization has repositories' },
      answers: { 204: { description: 'The organization was deleted' } },
    }),
    async (c) => {
      await deleteOrganization(callOf(c), organizationIn(c), expectedVersion(c));
      return answerNothing();
    },
  )
  .get(
    '/organizations/:organization/members',
    operation({
      group: GROUP,
      summary: 'List the members of an organization',
      query,
      answers: { 200: { description: 'A page of members, by name', schema: pageSchema(memberSchema) } },
    }),
    async (c) => {
      const page = await listMembers(callOf(c), organizationIn(c), pageQueryOf(c.var.query));
      return answerPage(
        page,
        (member) => member,
        ({ user }) => user,
      );
    },
  )
  .put(
    '/organizations/:organization/members/:user',
    operation({
      group: GROUP,
      summary: 'Invite a user to an organization, or change the role of a member',
      description: `A user who is not a member yet has to accept: \`POST /me/invitations/{organization}/accept\`. An
administrator of the registry adds users without asking them. The role of the last owner cannot be changed.`,
      body: memberChange,
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
    }),
    async (c) => {
      const member = { user: parseName(c.req.param('user')), role: c.var.body.role };
      const { outcome, expiresAt } = await putMember(callOf(c), organizationIn(c), member);
      if (expiresAt !== null) return answer({ ...member, invited: true, expiresAt: timeOf(expiresAt) }, { status: 202 });
      return answer(member, { status: outcome === 'added' ? 201 : 200 });
    },
  )
  .delete(
    '/organizations/:organization/members/:user',
    operation({
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
    }),
    async (c) => answerRemoved(await removeMember(callOf(c), organizationIn(c), parseName(c.req.param('user')))),
  )
  .get(
    '/organizations/:organization/invitations',
    operation({
      group: GROUP,
      summary: 'List the open invitations of an organization',
      query,
      answers: { 200: { description: 'A page of invitations, by user', schema: pageSchema(memberInvitationSchema) } },
    }),
    async (c) => {
      const page = await listInvitations(callOf(c), organizationIn(c), pageQueryOf(c.var.query));
      return answerPage(page, shownInvitation, ({ user }) => user);
    },
  )
  .delete(
    '/organizations/:organization/invitations/:user',
    operation({
      group: GROUP,
      summary: 'Withdraw an invitation to an organization',
      example: { path: { user: 'bob' } },
      answers: { 204: { description: 'The user has no open invitation' } },
    }),
    async (c) => {
      await withdrawInvitation(callOf(c), organizationIn(c), parseName(c.req.param('user')));
      return answerNothing();
    },
  );

export function shownInvitation({ expiresAt, ...invitation }: MemberInvitation): z.output<typeof memberInvitationSchema> {
  return { ...invitation, expiresAt: timeOf(expiresAt) };
}

function shown({ name, description: said, createdAt }: Organization): z.output<typeof organizationSchema> {
  return { name, description: said, createdAt: timeOf(createdAt) };
}

function answerOrganization(organization: Organization, status = 200): Response {
  return answer(shown(organization), { status, version: organization.version });
}
