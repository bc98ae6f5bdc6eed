/** Organizations and their members. */
import { Hono } from 'hono';
import * as z from 'zod';
import { endInvitation, invitationsTo, type MemberInvitation } from '../../auth/people/member-invitations.ts';
import { listMembers, putMember, removeMember } from '../../auth/people/members.ts';
import {
  deleteOrganization,
  describeOrganization,
  getOrganization,
  listOrganizations,
  type Organization,
  putOrganization,
} from '../../auth/people/organizations.ts';
import { isUnscopedUser } from '../../auth/policy.ts';
import { description, removedSchema } from '../../contract/fields.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { statementsOf } from '../../events/batch.ts';
import { requireNoRepositories } from '../../registry/repositories/descriptions.ts';
import { parseName, parseNewName } from '../../vocabulary/names.ts';
import { endSubscriptions } from '../../webhooks/subscriptions.ts';
import { type AppEnv, actorOf } from '../context.ts';
import { answer, answerNothing, answerPage, answerRemoved, timeOf } from './answers.ts';
import { asks, requireNotNarrowed } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn, pageQueryOf } from './params.ts';

const GROUP = 'Organizations';

const organizationSchema = z.strictObject({ name: z.string(), description: z.string(), createdAt: z.iso.datetime() });
const organizationBody = z.strictObject({ description });

const role = z.enum(['owner', 'member']).describe('Owners decide on members, teams, robots and all repositories');
const memberSchema = z.strictObject({ user: z.string(), role });
const memberBody = z.strictObject({ role });
export const memberInvitationSchema = z.strictObject({
  organization: z.string(),
  user: z.string(),
  role,
  invitedBy: z.string(),
  expiresAt: z.iso.datetime(),
});

const invitedMemberSchema = memberSchema.extend({ invited: z.literal(true), expiresAt: z.iso.datetime() });

const query = z.strictObject(PAGE_QUERY);

export const organizations = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'The organizations that you belong to',
      description: 'For an administrator: all of them. Not for a narrowed key.',
      query,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(organizationSchema) } },
    }),
    async (c) => {
      const { authority, query: page } = c.var;
      requireNotNarrowed(authority);
      const reader = { ...authority, administrator: authority.administrator && isUnscopedUser(authority) };
      return answerPage(await listOrganizations(c.env, reader, pageQueryOf(page)), shown, ({ name }) => name);
    },
  )
  .get(
    '/organizations/:organization',
    asks('member'),
    operation({
      group: GROUP,
      summary: 'An organization',
      answers: { 200: { description: 'What is said of it, and its ETag', schema: organizationSchema } },
    }),
    async (c) => answerOrganization(await getOrganization(c.env, organizationIn(c))),
  )
  .put(
    '/organizations/:organization',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Make an organization, or describe one',
      description: 'A new one has no members: add an owner next. Of names that look alike only one is given.',
      conditional: true,
      body: organizationBody,
      answers: {
        200: { description: 'It was there, and is as described now', schema: organizationSchema },
        201: { description: 'Made', schema: organizationSchema },
      },
    }),
    async (c) => {
      const change = { ifVersion: expectedVersion(c), by: actorOf(c) };
      const name = parseNewName(c.req.param('organization'));
      const { organization, created } = await putOrganization(c.env, name, c.var.body.description, change);
      return answerOrganization(organization, created ? 201 : 200);
    },
  )
  .patch(
    '/organizations/:organization',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Describe an organization',
      conditional: true,
      body: organizationBody,
      answers: { 200: { description: 'As it is now, and its new ETag', schema: organizationSchema } },
    }),
    async (c) => {
      const change = { ifVersion: expectedVersion(c), by: actorOf(c) };
      return answerOrganization(await describeOrganization(c.env, organizationIn(c), c.var.body.description, change));
    },
  )
  .delete(
    '/organizations/:organization',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Delete an organization',
      description:
        'Refused while it has repositories. Its members, teams, robots, keys, trust rules and webhooks go with it, and its name is not given again.',
      conditional: true,
      answers: { 204: { description: 'Deleted' } },
    }),
    async (c) => {
      const name = organizationIn(c);
      const change = { ifVersion: expectedVersion(c), by: actorOf(c) };
      await deleteOrganization(c.env, name, change, {
        guard: statementsOf(c.env, (batch) => requireNoRepositories(batch, name)),
        also: [endSubscriptions(c.env, `organization:${name}`)],
      });
      return answerNothing();
    },
  )
  .get(
    '/organizations/:organization/members',
    asks('member'),
    operation({
      group: GROUP,
      summary: 'The members of an organization',
      query,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(memberSchema) } },
    }),
    async (c) => {
      const page = await listMembers(c.env, organizationIn(c), pageQueryOf(c.var.query));
      return answerPage(
        page,
        (member) => member,
        ({ user }) => user,
      );
    },
  )
  .put(
    '/organizations/:organization/members/:user',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Invite somebody to an organization, or change the role of a member',
      description: `Whoever is not a member yet has to accept: \`POST /me/invitations/{organization}/accept\`. An administrator of the registry
adds them at once. The last owner stays one.`,
      body: memberBody,
      answers: {
        200: { description: 'The role of the member is this now', schema: memberSchema },
        201: { description: 'Added, by an administrator', schema: memberSchema },
        202: { description: 'Invited: a member once they accept', schema: invitedMemberSchema },
      },
    }),
    async (c) => {
      const member = { user: parseName(c.req.param('user')), role: c.var.body.role };
      const { outcome, expiresAt } = await putMember(c.env, organizationIn(c), member, actorOf(c));
      if (expiresAt !== null) return answer({ ...member, invited: true, expiresAt: timeOf(expiresAt) }, { status: 202 });
      return answer(member, { status: outcome === 'added' ? 201 : 200 });
    },
  )
  .delete(
    '/organizations/:organization/members/:user',
    asks('owner or self'),
    operation({
      group: GROUP,
      summary: 'Remove a member from an organization, or leave it',
      description: `Owners remove anybody, and everybody may leave. They leave its teams too, and policies of its repositories allow them nothing
by name any more; what is denied to them stays denied. The last owner stays.`,
      answers: {
        200: { description: 'Removed, and what was taken from policies', schema: removedSchema },
        204: { description: 'Removed; no policy allowed them anything by name' },
      },
    }),
    async (c) => {
      return answerRemoved(await removeMember(c.env, organizationIn(c), parseName(c.req.param('user')), actorOf(c)));
    },
  )
  .get(
    '/organizations/:organization/invitations',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Who is invited to an organization and has not answered',
      query,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(memberInvitationSchema) } },
    }),
    async (c) => {
      const page = await invitationsTo(c.env, organizationIn(c), pageQueryOf(c.var.query));
      return answerPage(page, shownInvitation, ({ user }) => user);
    },
  )
  .delete(
    '/organizations/:organization/invitations/:user',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Take back an invitation to an organization',
      answers: { 204: { description: 'No invitation of this user is open' } },
    }),
    async (c) => {
      await endInvitation(c.env, organizationIn(c), parseName(c.req.param('user')), actorOf(c));
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
