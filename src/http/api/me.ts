/** Routes about the caller's own account: its description, invitations, login passwords and logins. */

import { accepts } from 'hono/accepts';
import * as z from 'zod';
import { createLoginPassword, type DescribedCaller, describeCaller, logOutEverywhere } from '../../app/login.ts';
import { acceptMembership, declineInvitation, listOwnInvitations } from '../../app/organizations.ts';
import type { callerSchema } from '../../contract/answers/people.ts';
import { PAGE_QUERY } from '../../contract/pages.ts';
import { loginPasswordRequest, logout } from '../../contract/people.ts';
import { loginNameOf } from '../../vocabulary/names.ts';
import { type AppEnv, callOf, hostOf, type RequestContext } from '../context.ts';
import { Hono } from '../hono.ts';
import { limitTokenRequests } from '../limits.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { shownInvitation } from './organizations.ts';
import { organizationIn, pageQueryOf } from './params.ts';

/** The user name in the suggested command. A login password is valid with any user name, and scripts for ECR use this one. */
export const ANY_NAME = 'AWS';

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain';

export const me = new Hono<AppEnv>({ strict: false })
  .get('/me', operation({}), (c) => answer(shownCaller(describeCaller(callOf(c)))))
  .get(
    '/me/invitations',
    operation({
      query: z.strictObject(PAGE_QUERY),
    }),
    async (c) => {
      const page = await listOwnInvitations(callOf(c), pageQueryOf(c.var.query));
      return answerPage(page, shownInvitation, ({ organization }) => organization);
    },
  )
  .post(
    '/me/invitations/:organization/accept',
    operation({
      body: z.strictObject({}),
    }),
    async (c) => {
      const organization = organizationIn(c);
      const { role } = await acceptMembership(callOf(c), organization);
      return answer({ organization, role });
    },
  )
  .delete('/me/invitations/:organization', operation({}), async (c) => {
    await declineInvitation(callOf(c), organizationIn(c));
    return answerNothing();
  })
  .delete(
    '/me/logins',
    operation({
      query: logout,
    }),
    async (c) => {
      await logOutEverywhere(callOf(c), { keys: c.var.query.keys === 'true' });
      return answerNothing();
    },
  )
  .post(
    '/login-password',
    operation({
      body: loginPasswordRequest,
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
