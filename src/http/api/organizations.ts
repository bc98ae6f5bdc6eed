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
import type { memberInvitationSchema, organizationSchema } from '../../contract/answers/organizations.ts';
import { memberChange, organizationChange } from '../../contract/organizations.ts';
import { PAGE_QUERY } from '../../contract/pages.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, answerRemoved, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn, pageQueryOf } from './params.ts';

const query = z.strictObject(PAGE_QUERY);

export const organizations = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations',
    operation({
      query,
    }),
    async (c) => answerPage(await listOrganizations(callOf(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get('/organizations/:organization', operation({}), async (c) =>
    answerOrganization(await getOrganization(callOf(c), organizationIn(c))),
  )
  .put(
    '/organizations/:organization',
    operation({
      conditional: true,
      body: organizationChange,
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
      conditional: true,
      body: organizationChange,
    }),
    async (c) => {
      const { description } = c.var.body;
      return answerOrganization(await describeOrganization(callOf(c), organizationIn(c), description, expectedVersion(c)));
    },
  )
  .delete(
    '/organizations/:organization',
    operation({
      conditional: true,
    }),
    async (c) => {
      await deleteOrganization(callOf(c), organizationIn(c), expectedVersion(c));
      return answerNothing();
    },
  )
  .get(
    '/organizations/:organization/members',
    operation({
      query,
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
      body: memberChange,
    }),
    async (c) => {
      const member = { user: parseName(c.req.param('user')), role: c.var.body.role };
      const { outcome, expiresAt } = await putMember(callOf(c), organizationIn(c), member);
      if (expiresAt !== null) return answer({ ...member, invited: true, expiresAt: timeOf(expiresAt) }, { status: 202 });
      return answer(member, { status: outcome === 'added' ? 201 : 200 });
    },
  )
  .delete('/organizations/:organization/members/:user', operation({}), async (c) =>
    answerRemoved(await removeMember(callOf(c), organizationIn(c), parseName(c.req.param('user')))),
  )
  .get(
    '/organizations/:organization/invitations',
    operation({
      query,
    }),
    async (c) => {
      const page = await listInvitations(callOf(c), organizationIn(c), pageQueryOf(c.var.query));
      return answerPage(page, shownInvitation, ({ user }) => user);
    },
  )
  .delete('/organizations/:organization/invitations/:user', operation({}), async (c) => {
    await withdrawInvitation(callOf(c), organizationIn(c), parseName(c.req.param('user')));
    return answerNothing();
  });

export function shownInvitation({ expiresAt, ...invitation }: MemberInvitation): z.output<typeof memberInvitationSchema> {
  return { ...invitation, expiresAt: timeOf(expiresAt) };
}

function shown({ name, description: said, createdAt }: Organization): z.output<typeof organizationSchema> {
  return { name, description: said, createdAt: timeOf(createdAt) };
}

function answerOrganization(organization: Organization, status = 200): Response {
  return answer(shown(organization), { status, version: organization.version });
}
