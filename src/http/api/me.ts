/** Routes about the caller's own account: its description, its invitations, its login passwords and its logins. */

import { accepts } from 'hono/accepts';
import * as z from 'zod';
import { createLoginPassword, type DescribedCaller, describeCaller, logOutEverywhere } from '../../app/login.ts';
import { acceptMembership, declineInvitation, listOwnInvitations } from '../../app/organizations.ts';
import { joinedSchema, memberInvitationSchema } from '../../contract/organizations.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { callerSchema, loginPasswordRequest, loginPasswordSchema, logout } from '../../contract/people.ts';
import { loginNameOf } from '../../vocabulary/names.ts';
import { type AppEnv, callOf, hostOf, type RequestContext } from '../context.ts';
import { Hono } from '../hono.ts';
import { limitTokenRequests } from '../limits.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { shownInvitation } from './organizations.ts';
import { organizationIn, pageQueryOf } from './params.ts';

const GROUP = 'You';

/** The user name in the suggested command. A login password works with any user name, and scripts for ECR use this one. */
const ANY_NAME = 'AWS';

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain';

export const me = new Hono<AppEnv>({ strict: false })
  .get(
    '/me',
    operation({
      group: GROUP,
      summary: 'Read who you are',
      description: 'Tells which user, robot or CI job the credential of this request belongs to, and what it is limited to.',
      answers: { 200: { description: 'You, according to the credential of this request', schema: callerSchema } },
    }),
    (c) => answer(shownCaller(describeCaller(callOf(c)))),
  )
  .get(
    '/me/invitations',
    operation({
      group: GROUP,
      summary: 'List the organizations that have invited you',
      query: z.strictObject(PAGE_QUERY),
      answers: { 200: { description: 'A page of invitations, by organization', schema: pageSchema(memberInvitationSchema) } },
    }),
    async (c) => {
      const page = await listOwnInvitations(callOf(c), pageQueryOf(c.var.query));
      return answerPage(page, shownInvitation, ({ organization }) => organization);
    },
  )
  .post(
    '/me/invitations/:organization/accept',
    operation({
      group: GROUP,
      summary: 'Join an organization that has invited you',
      description: 'You can leave the organization at any time: `DELETE /organizations/{organization}/members/{you}`.',
      body: z.strictObject({}),
      example: { body: {} },
      refusals: {
        conflict: 'You have no open invitation of this organization',
        'limit-reached': 'You or the organization have reached a limit',
      },
      answers: { 200: { description: 'You are a member', schema: joinedSchema } },
    }),
    async (c) => {
      const organization = organizationIn(c);
      const { role } = await acceptMembership(callOf(c), organization);
      return answer({ organization, role });
    },
  )
  .delete(
    '/me/invitations/:organization',
    operation({
      group: GROUP,
      summary: 'Decline an invitation to an organization',
      answers: { 204: { description: 'You have no open invitation of this organization' } },
    }),
    async (c) => {
      await declineInvitation(callOf(c), organizationIn(c));
      return answerNothing();
    },
  )
  .delete(
    '/me/logins',
    operation({
      group: GROUP,
      summary: 'Log out everywhere',
      description:
        'Ends your login passwords and refresh tokens at once, including the one of this request. A client that was ' +
        'logged in can pull for up to five more minutes.',
      query: logout,
      refusals: {
        forbidden: 'The credential is narrowed; or `keys` is `true` and the credential is not a personal access key',
      },
      answers: { 204: { description: 'You are logged out' } },
    }),
    async (c) => {
      await logOutEverywhere(callOf(c), { keys: c.var.query.keys === 'true' });
      return answerNothing();
    },
  )
  .post(
    '/login-password',
    operation({
      group: GROUP,
      summary: 'Create a password for docker login that expires by itself',
      description: `The password allows no more, and works no longer, than the credential of this request. If that is a CI
token, it works as long as the trust rule says. With \`Accept: text/plain\` the answer is only the password:
\`curl -H 'Accept: text/plain' … | docker login -u ${ANY_NAME} --password-stdin …\``,
      body: loginPasswordRequest,
      example: { body: { lifetime: 3600 } },
      refusals: { forbidden: 'The credential may not create one' },
      answers: { 200: { description: 'The password', schema: loginPasswordSchema } },
    }),
    async (c) => {
      const call = callOf(c);
      await limitTokenRequests(c, call.authority.subject);
      const password = await createLoginPassword(call, c.var.body.lifetime);
      const plain = accepts(c, { header: 'Accept', supports: [JSON_TYPE, TEXT_TYPE], default: '' }) === TEXT_TYPE;
      return answerLogin(c, password, plain);
    },
  );

function shownCaller({ unread, credential, ...caller }: DescribedCaller): z.input<typeof callerSchema> {
  const { expiresAt } = credential;
  return {
    ...caller,
    username: loginNameOf(caller.subject),
    ...(unread.length > 0 ? { unread } : {}),
    credential: { ...credential, expiresAt: expiresAt === null ? null : timeOf(expiresAt) },
  };
}

function answerLogin(c: RequestContext, { token, expiresAt }: { token: string; expiresAt: number }, plain: boolean): Response {
  const registry = hostOf(c);
  const command = `docker login --username ${ANY_NAME} --password-stdin ${registry}`;
  const response = plain
    ? new Response(token, { headers: { 'content-type': `${TEXT_TYPE}; charset=utf-8`, 'cache-control': 'no-store' } })
    : answer({ username: ANY_NAME, password: token, expiresAt: timeOf(expiresAt), registry, command });
  response.headers.set('vary', 'accept');
  return response;
}
