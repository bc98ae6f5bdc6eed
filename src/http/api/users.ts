/** Routes of users and their invitations. */

import {
  type Accepted,
  acceptInvitation,
  changeUser,
  getUser,
  type Invited,
  inviteUser,
  listUsers,
  logOutUser,
  openInvitation,
  type Used,
  type User,
} from '../../app/people.ts';
import { invitationAcceptance, logout, userChange, userInvitation, userQuery } from '../../contract/people.ts';
import { loginNameOf, parseName } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, hostOf, originOf, type RequestContext } from '../context.ts';
import { Hono } from '../hono.ts';
import { limitWrongPasswords } from '../limits.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, pageQueryOf } from './params.ts';

export const users = new Hono<AppEnv>({ strict: false })
  .get(
    '/users',
    operation({
      query: userQuery,
    }),
    async (c) => {
      const { search = '' } = c.var.query;
      const page = await listUsers(callOf(c), { ...pageQueryOf(c.var.query), search });
      return answerPage(page, shownUser, ({ name }) => name);
    },
  )
  .get('/users/:user', operation({}), async (c) => {
    const user = await getUser(callOf(c), subjectIn(c));
    return 'version' in user ? answer(shownUser(user), { version: user.version }) : answer(user);
  })
  .put(
    '/users/:user',
    operation({
      body: userInvitation,
      conditional: true,
    }),
    async (c) => {
      const { created, ...invited } = await inviteUser(callOf(c), subjectIn(c), c.var.body, expectedVersion(c));
      return answerInvited(c, invited, created ? 201 : 200);
    },
  )
  .patch(
    '/users/:user',
    operation({
      body: userChange,
      conditional: true,
    }),
    async (c) => {
      const { user, remainingGrants } = await changeUser(callOf(c), subjectIn(c), c.var.body, expectedVersion(c));
      const grants = remainingGrants && remainingGrants.count > 0 ? { remainingGrants } : {};
      return answer({ ...shownUser(user), ...grants }, { version: user.version });
    },
  )
  .post('/users/:user/invitation', operation({}), async (c) =>
    answerInvited(c, await openInvitation(callOf(c), subjectIn(c)), 201),
  )
  .delete(
    '/users/:user/logins',
    operation({
      query: logout,
    }),
    async (c) => {
      await logOutUser(callOf(c), subjectIn(c), { keys: c.var.query.keys === 'true' });
      return answerNothing();
    },
  )
  .post(
    '/invitations/accept',
    operation({
      body: invitationAcceptance,
    }),
    async (c) => {
      const accepted = await acceptInvitation({ env: c.env, service: hostOf(c), now: Date.now() }, c.var.body.token);
      if (accepted === 'expired') throw closed('this invitation has expired: ask an administrator for a new one');
      if (accepted === null) await limitWrongPasswords(c);
      if (accepted !== null && accepted !== 'closed') {
        if ('at' in accepted) throw used(accepted, hostOf(c));
        return answerAccepted(c, accepted);
      }
      throw closed(
        'this invitation does not work: it was used, it was replaced by a newer one, or a part of the link is missing. ' +
          'Ask an administrator for a new one',
      );
    },
  );

function subjectIn(c: RequestContext): string {
  return `user:${parseName(c.req.param('user') ?? '')}`;
}

function closed(message: string): Refusal {
  return new Refusal('request-invalid', { message });
}

/**
 * Returns the refusal of a used invitation. The token proves that its holder was invited, so the holder may know who used the
 * invitation and when.
 */
function used({ name, at }: Used, registry: string): Refusal {
  const time = timeOf(at).replace('T', ' at ').slice(0, '2026-01-31 at 12:00'.length);
  return closed(
    `this invitation was used on ${time} UTC: ${name} has joined. Sign in with the access key that was shown then: ` +
      `docker login -u ${name} ${registry}. If you have lost it, or if it was not you, tell an administrator`,
  );
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

async function answerInvited(c: RequestContext, { user, invitation }: Invited, status: 200 | 201): Promise<Response> {
  // Browsers do not send the part of a URL after the `#`, so the token appears in no log and in no Referer header.
  const link = invitation && {
    url: `${originOf(c)}/join#${invitation.token}`,
    token: invitation.token,
    expiresAt: timeOf(invitation.expiresAt),
  };
  return answer({ user: shownUser(user), invitation: link }, { status, version: user.version });
}

function answerAccepted(c: RequestContext, { user, key }: Accepted): Response {
  const registry = hostOf(c);
  return answer({
    user: shownUser(user),
    key: { ...key, expiresAt: timeOf(key.expiresAt) },
    registry,
    login: `docker login -u ${loginNameOf(user.subject)} ${registry}`,
  });
}
