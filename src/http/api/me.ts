/** The caller: who they are, their login passwords, and logging out everywhere. */
import { Hono } from 'hono';
import { accepts } from 'hono/accepts';
import * as z from 'zod';
import type { Authority } from '../../auth/authority.ts';
import { noteIssued } from '../../auth/login-log.ts';
import { endLogins } from '../../auth/people/accounts.ts';
import { acceptMembership, endInvitation, invitationsOf } from '../../auth/people/member-invitations.ts';
import { type Minted, mintLoginPassword } from '../../auth/tokens.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { LOGIN_PASSWORD_MAX_LIFETIME } from '../../vocabulary/limits.ts';
import { loginNameOf, nameOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { logged } from '../authenticate.ts';
import { type AppEnv, actorOf, originOf, type RequestContext, runtimeOf } from '../context.ts';
import { limitTokenRequests } from '../limits.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { asks, requireNotNarrowed, requireWhole } from './guard.ts';
import { operation } from './operation.ts';
import { memberInvitationSchema, shownInvitation } from './organizations.ts';
import { organizationIn, pageQueryOf } from './params.ts';
import { logoutQuery } from './users.ts';

const GROUP = 'You';

/** ECR's, which scripts have in them. A login password says by itself whose it is. */
const ANY_NAME = 'AWS';

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain';

const LIFETIME_MIN = 15 * 60;

const meSchema = z.strictObject({
  subject: z
    .string()
    .describe(
      'As statements and tokens write it: `user:alice`, `robot:acme/ci`, `ci:acme/deploy`; `ci`: a job that several organizations trust',
    ),
  username: z.string().describe('For `docker login` with an access key'),
  administrator: z.boolean().describe('This, organizations and teams are not told to a narrowed key'),
  organizations: z.array(z.strictObject({ name: z.string(), role: z.enum(['owner', 'member']) })),
  teams: z.array(z.string()).describe('`acme/dev`'),
  unread: z
    .optional(z.array(z.string()))
    .describe('Whose policies are larger than one request reads: whatever they can be about is denied, but to administrators'),
  credential: z.strictObject({
    kind: z.enum(['password', 'key', 'login', 'ci']).describe('What this request was made with'),
    key: z.nullable(z.string()).describe('The id of the access key, also of the one that a login was made with'),
    narrowed: z.boolean().describe('Reaches less far than whoever holds it'),
    expiresAt: z.nullable(z.iso.datetime()),
  }),
});

const joinedSchema = z.strictObject({ organization: z.string(), role: z.enum(['owner', 'member']) });

const loginBody = z.strictObject({
  lifetime: z
    .optional(z.number().int().min(LIFETIME_MIN).max(LOGIN_PASSWORD_MAX_LIFETIME))
    .describe(`Seconds; ${LOGIN_PASSWORD_MAX_LIFETIME} where nothing is said`),
});

const loginSchema = z.strictObject({
  username: z.string().describe('Any name will do'),
  password: z.string(),
  expiresAt: z.iso.datetime(),
  registry: z.string().describe('Host and port, as in the name of an image'),
  command: z.string().describe('Takes the password on its standard input'),
});

export const me = new Hono<AppEnv>({ strict: false })
  .get(
    '/me',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'Who you are',
      answers: { 200: { description: 'As what you showed says', schema: meSchema } },
    }),
    (c) => answer(shownAuthority(c.var.authority)),
  )
  .get(
    '/me/invitations',
    asks('account'),
    operation({
      group: GROUP,
      summary: 'Organizations that have invited you',
      query: z.strictObject(PAGE_QUERY),
      answers: { 200: { description: 'A page of them, by organization', schema: pageSchema(memberInvitationSchema) } },
    }),
    async (c) => {
      const page = await invitationsOf(c.env, c.var.authority.subject, pageQueryOf(c.var.query));
      return answerPage(page, shownInvitation, ({ organization }) => organization);
    },
  )
  .post(
    '/me/invitations/:organization/accept',
    asks('account'),
    operation({
      group: GROUP,
      summary: 'Join an organization that has invited you',
      description: 'You can leave it at any time: `DELETE /organizations/{organization}/members/{you}`.',
      body: z.strictObject({}),
      answers: { 200: { description: 'You are a member', schema: joinedSchema } },
    }),
    async (c) => {
      const organization = organizationIn(c);
      const { role } = await acceptMembership(c.env, organization, actorOf(c));
      return answer({ organization, role });
    },
  )
  .delete(
    '/me/invitations/:organization',
    asks('account'),
    operation({
      group: GROUP,
      summary: 'Decline an invitation to an organization',
      answers: { 204: { description: 'No invitation of it is open for you' } },
    }),
    async (c) => {
      await endInvitation(c.env, organizationIn(c), nameOf(c.var.authority.subject), actorOf(c));
      return answerNothing();
    },
  )
  .delete(
    '/me/logins',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'Log out everywhere',
      description:
        'Ends your login passwords and refresh tokens at once, this one included. What was logged in may still pull for up to five minutes. Not for a narrowed key.',
      query: logoutQuery,
      answers: { 204: { description: 'Logged out' } },
    }),
    async (c) => {
      const { authority, query } = c.var;
      if (authority.credential === 'ci') throw noAccount();
      requireNotNarrowed(authority);
      const keys = query.keys === 'true';
      if (keys) requireWhole(authority);
      await endLogins(c.env, authority.subject, { keys, by: actorOf(c) });
      return answerNothing();
    },
  )
  .post(
    '/login-password',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'A password for docker login that ends by itself',
      description: `Never good for more or longer than what you ask with; made with a CI token, as long as its trust rule says. With \`Accept: text/plain\` the answer is the password alone:
\`curl -H 'Accept: text/plain' … | docker login -u ${ANY_NAME} --password-stdin …\``,
      body: loginBody,
      answers: { 200: { description: 'The password', schema: loginSchema } },
    }),
    async (c) => {
      const { authority, body } = c.var;
      await limitTokenRequests(c, authority.subject);
      const lifetime = body.lifetime ?? LOGIN_PASSWORD_MAX_LIFETIME;
      const login = await mintLoginPassword(c.env, authority, lifetime, runtimeOf(c));
      await logged(c, (where) => noteIssued(c.env, authority, where, login.expiresAt));
      return answerLogin(
        c,
        login,
        accepts(c, { header: 'Accept', supports: [JSON_TYPE, TEXT_TYPE], default: '' }) === TEXT_TYPE,
      );
    },
  );

function noAccount(): Refusal {
  return new Refusal('request-invalid', { message: 'a CI token has no account that could be logged out: it ends by itself' });
}

const NOBODY: Pick<Authority, 'administrator' | 'owns' | 'belongsTo' | 'principals'> = {
  administrator: false,
  owns: [],
  belongsTo: [],
  principals: [],
};

function shownAuthority(authority: Authority): z.input<typeof meSchema> {
  const { subject, credential, via, bounds, until, unread } = authority;
  // What its owner is beside that, a narrowed key can do nothing with.
  const { administrator, owns, belongsTo, principals } = bounds.length > 0 ? NOBODY : authority;
  return {
    subject,
    username: loginNameOf(subject),
    administrator,
    organizations: belongsTo.map((name) => ({ name, role: owns.includes(name) ? 'owner' : 'member' })),
    teams: principals.flatMap((principal) => (principal.startsWith('team:') ? [principal.slice('team:'.length)] : [])),
    ...(unread.length > 0 ? { unread } : {}),
    credential: {
      kind: credential as Exclude<typeof credential, 'none'>,
      key: via.key ?? null,
      narrowed: bounds.length > 0,
      expiresAt: until === null ? null : timeOf(until),
    },
  };
}

function answerLogin(c: RequestContext, { token, expiresAt }: Minted, plain: boolean): Response {
  const registry = new URL(originOf(c)).host;
  const command = `docker login --username ${ANY_NAME} --password-stdin ${registry}`;
  const response = plain
    ? new Response(token, { headers: { 'content-type': `${TEXT_TYPE}; charset=utf-8`, 'cache-control': 'no-store' } })
    : answer({ username: ANY_NAME, password: token, expiresAt: timeOf(expiresAt), registry, command });
  response.headers.set('vary', 'accept');
  return response;
}
