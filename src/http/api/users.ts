/** Users: invite, describe, change, and log them out. */
import { Hono } from 'hono';
import * as z from 'zod';
import type { Authority } from '../../auth/authority.ts';
import { changeUser, endLogins, findUser, listUsers, shareOrganization, type User } from '../../auth/people/accounts.ts';
import { type Accepted, acceptInvitation, invitationToken, inviteUser, openInvitation } from '../../auth/people/invitations.ts';
import { isNarrowed, isUnscopedUser } from '../../auth/policy.ts';
import { grantsOf } from '../../auth/policy-names.ts';
import { grantsSchema } from '../../contract/fields.ts';
import { PAGE_DEFAULT, PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { loginNameOf, nameOf, parseName } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, actorOf, originOf, type RequestContext, runtimeOf } from '../context.ts';
import { limitWrongPasswords } from '../limits.ts';
import { answer, answerItems, answerNothing, timeOf } from './answers.ts';
import { asks } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion } from './params.ts';

const GROUP = 'Users';

const DESCRIPTION_MAX = 255;
/** An invitation has 400 characters or so. */
const TOKEN_MAX = 2048;

const administrator = z.optional(z.boolean()).describe('May do everything, everywhere');
const description = z.optional(z.string().max(DESCRIPTION_MAX)).describe('For administrators: who this is');

const inviteBody = z.strictObject({ administrator, description });
const changeBody = z.strictObject({
  administrator,
  disabled: z.optional(z.boolean()).describe('Nothing of theirs opens anything any more'),
  description,
});
const acceptBody = z.strictObject({ token: z.string().max(TOKEN_MAX).describe('What follows the # of the link') });

const userSchema = z.strictObject({
  name: z.string(),
  subject: z.string().describe('As statements and tokens write it: `user:alice`'),
  administrator: z.boolean(),
  disabled: z.boolean(),
  joined: z.boolean().describe('Has accepted an invitation'),
  description: z.string(),
  createdAt: z.iso.datetime(),
});
const changedSchema = userSchema.extend({
  remainingGrants: z
    .optional(grantsSchema)
    .describe('Of a user who was disabled: policies that name them still, and count again once they are enabled'),
});
const colleagueSchema = userSchema.pick({ name: true, subject: true });

const invitationSchema = z.strictObject({
  url: z.url().describe('To be sent to whom it is for. Whoever opens it first and accepts is that user.'),
  token: z.string(),
  expiresAt: z.iso.datetime(),
});

const invitedSchema = z.strictObject({
  user: userSchema,
  invitation: z.nullable(invitationSchema).describe('null for a user who has joined'),
});

const acceptedSchema = z.strictObject({
  user: userSchema,
  key: z.strictObject({
    id: z.string(),
    secret: z.string().describe('Shown this once'),
    expiresAt: z.iso.datetime(),
  }),
  registry: z.string().describe('Host and port, as in the name of an image'),
  login: z.string().describe('To be typed on the command line, which then asks for the secret'),
});

export const logoutQuery = z.strictObject({
  keys: z.optional(z.enum(['true', 'false'])).describe('`true`: revoke the access keys as well'),
});

const listQuery = z.strictObject({
  ...PAGE_QUERY,
  search: z.optional(z.string().max(255)).describe('Part of the name or of the description'),
});

export const users = new Hono<AppEnv>({ strict: false })
  .get(
    '/users',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'All users',
      query: listQuery,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(userSchema) } },
    }),
    async (c) => {
      const { n = PAGE_DEFAULT, last = '', search = '' } = c.var.query;
      const { items, more } = await listUsers(c.env, { after: last.toLowerCase(), limit: n, search });
      return answerItems(items.map(shownUser), more ? (items.at(-1)?.name ?? null) : null, ({ name }) => name);
    },
  )
  .get(
    '/users/:user',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'A user',
      description:
        'Everything for the user and for administrators; for members of an organization of theirs, that they are there. A narrowed key is told its owner alone.',
      answers: { 200: { description: 'The user, and its ETag', schema: z.union([userSchema, colleagueSchema]) } },
    }),
    async (c) => {
      const { authority } = c.var;
      const subject = subjectIn(c);
      if (isNarrowed(authority)) return answer(nameAlone(authority, subject));
      const user = await findUser(c.env, subject);
      if (user && seesAll(authority, user)) return answer(shownUser(user), { version: user.version });
      if (!user || !(await shareOrganization(c.env, authority.subject, user.subject))) throw new Refusal('not-found');
      return answer({ name: user.name, subject: user.subject });
    },
  )
  .put(
    '/users/:user',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Invite a user',
      description: `Answers a link for them to open: it gives them an access key, once, within seven days. Nobody chooses a password.
Asked again for somebody who has not joined yet, it answers the same invitation; a user who is there already is changed as by PATCH.`,
      body: inviteBody,
      conditional: true,
      answers: {
        200: { description: 'The user was there already', schema: invitedSchema },
        201: { description: 'Invited', schema: invitedSchema },
      },
    }),
    async (c) => {
      const change = { ifVersion: expectedVersion(c), by: actorOf(c) };
      const { user, made } = await inviteUser(c.env, subjectIn(c), c.var.body, change);
      return answerInvited(c, user, made ? 201 : 200);
    },
  )
  .patch(
    '/users/:user',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Change, disable or enable a user',
      description: `A user is never deleted, so that the name cannot pass to somebody else: disabling is the deletion. It logs them out
and closes their invitation; access keys work again once they are enabled, unless they are revoked.`,
      body: changeBody,
      conditional: true,
      answers: { 200: { description: 'Changed; the new ETag', schema: changedSchema } },
    }),
    async (c) => {
      const change = { ifVersion: expectedVersion(c), by: actorOf(c) };
      const user = await changeUser(c.env, subjectIn(c), c.var.body, change);
      const grants = c.var.body.disabled === true ? await grantsOf(c.env, user.subject) : null;
      return answer({ ...shownUser(user), ...(grants?.count ? { remainingGrants: grants } : {}) }, { version: user.version });
    },
  )
  .post(
    '/users/:user/invitation',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'A new invitation',
      description: 'For a user who let the one before expire, or who has lost every access key. The link before stops working.',
      answers: { 201: { description: 'The link', schema: invitedSchema } },
    }),
    async (c) => answerInvited(c, await openInvitation(c.env, subjectIn(c), { keepOpen: false, by: actorOf(c) }), 201),
  )
  .delete(
    '/users/:user/logins',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Log a user out everywhere',
      description: 'Ends login passwords and refresh tokens at once. What was logged in may still pull for up to five minutes.',
      query: logoutQuery,
      answers: { 204: { description: 'Logged out' } },
    }),
    async (c) => {
      await endLogins(c.env, subjectIn(c), { keys: c.var.query.keys === 'true', by: actorOf(c) });
      return answerNothing();
    },
  )
  .post(
    '/invitations/accept',
    operation({
      group: GROUP,
      summary: 'Accept an invitation',
      description: 'Gives an access key, and uses the invitation up.',
      body: acceptBody,
      answers: { 200: { description: 'Joined', schema: acceptedSchema } },
    }),
    async (c) => {
      const accepted = await acceptInvitation(c.env, c.var.body.token, runtimeOf(c));
      if (accepted === 'expired') throw closed('this invitation has expired: ask an administrator for a new one');
      if (accepted === null) await limitWrongPasswords(c);
      if (accepted !== null && accepted !== 'closed') return answerAccepted(c, accepted);
      throw closed('this invitation opens nothing: it was used, or replaced by a newer one, or a part of the link is missing');
    },
  );

function subjectIn(c: RequestContext): string {
  return `user:${parseName(c.req.param('user') ?? '')}`;
}

/** A narrowed credential is told whose it is, and of nobody else. @throws not-found */
function nameAlone({ subject }: Authority, asked: string): z.output<typeof colleagueSchema> {
  if (asked !== subject) throw new Refusal('not-found');
  return { name: nameOf(subject), subject };
}

function seesAll(authority: Authority, { subject }: User): boolean {
  return authority.subject === subject || (authority.administrator && isUnscopedUser(authority));
}

function closed(message: string): Refusal {
  return new Refusal('request-invalid', { message });
}

function shownUser({ name, subject, administrator: isAdministrator, disabled, joined, description: about, createdAt }: User) {
  return {
    name,
    subject,
    administrator: isAdministrator,
    disabled,
    joined,
    description: about,
    createdAt: timeOf(createdAt),
  };
}

/** The token stands behind the #: browsers send that to nobody, so it is in no log and in no Referer. */
async function answerInvited(c: RequestContext, user: User, status: 200 | 201): Promise<Response> {
  const open = await invitationToken(c.env, user, runtimeOf(c));
  const invitation = open && {
    url: `${originOf(c)}/join#${open.token}`,
    token: open.token,
    expiresAt: timeOf(open.expiresAt),
  };
  return answer({ user: shownUser(user), invitation }, { status, version: user.version });
}

function answerAccepted(c: RequestContext, { user, key }: Accepted): Response {
  const registry = new URL(originOf(c)).host;
  return answer({
    user: shownUser(user),
    key: { ...key, expiresAt: timeOf(key.expiresAt) },
    registry,
    login: `docker login -u ${loginNameOf(user.subject)} ${registry}`,
  });
}
