/**
 * The token service: `GET /token` (distribution, "Token Authentication Specification") and `POST /token` (the same, "OAuth2
 * Token Authentication").
 */
import type { Context } from 'hono';
import {
  type Credential,
  credentialByPassword,
  credentialByRefreshToken,
  loadRights,
  refuseRefreshToken,
  wrongCredentials,
} from '../app/authentication.ts';
import { issueToken, repositoriesIn, requestedScopes, startsLogin } from '../app/tokens.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { arrivalOf, parseBasic, partsOf } from './authenticate.ts';
import type { AppEnv } from './context.ts';
import { Hono } from './hono.ts';
import { guess, limitLogins, limitTokenRequests } from './limits.ts';
import { readBody } from './params.ts';

/** The maximum number of bytes of a form. It suffices for many scopes and a token. */
const FORM_MAX_BYTES = 64 * 1024;

export const token = new Hono<AppEnv>({ strict: false })
  .get('/', async (c) => {
    const scopes = c.req.queries('scope') ?? [];
    const offline = /^(?:true|1)$/i.test(c.req.query('offline_token') ?? '');
    return answer(c, await credentialByHeader(c), { scopes, offline, oauth: false });
  })

  .post('/', async (c) => {
    const form = new URLSearchParams(new TextDecoder().decode(await readBody(c, FORM_MAX_BYTES)));
    const scopes = form.getAll('scope');
    return answer(c, await credentialByForm(c, form), { scopes, offline: form.get('access_type') === 'offline', oauth: true });
  });

/**
 * Returns the credential in the Authorization header, or `null` for an anonymous caller. @throws unauthenticated if the
 * credential is wrong or was not sent with the scheme Basic
 */
async function credentialByHeader(c: Context<AppEnv>): Promise<Credential | null> {
  const header = c.req.header('authorization');
  if (header === undefined) return null;
  const sent = basicIn(header);
  if (sent === null) throw wrongCredentials(arrivalOf(c));
  await refuseRefreshToken(arrivalOf(c), sent);
  return byPassword(c, sent);
}

function basicIn(header: string): NamedPassword | null {
  const [scheme, value] = partsOf(header);
  return scheme === 'basic' && value !== null ? parseBasic(value) : null;
}

type NamedPassword = { name: string; password: string };

function byPassword(c: Context<AppEnv>, sent: NamedPassword): Promise<Credential> {
  return credentialByPassword(arrivalOf(c), sent, (compare) => guess(c, compare));
}

/**
 * @throws unauthenticated if the credentials are wrong; parameter-invalid if `grant_type` is unknown, or if the form and the
 * header name different users
 */
async function credentialByForm(c: Context<AppEnv>, form: URLSearchParams): Promise<Credential> {
  switch (form.get('grant_type')) {
    case 'password':
      return byPassword(c, passwordIn(c, { name: form.get('username') ?? '', password: form.get('password') ?? '' }));
    case 'refresh_token':
      return credentialByRefreshToken(arrivalOf(c), form.get('refresh_token') ?? '');
    default:
      throw new Refusal('parameter-invalid', { message: 'grant_type must be password or refresh_token' });
  }
}

/**
 * Returns the name and password in a form. If the form has no password, they are read from the Authorization header, where some
 * clients send them. If the form has a password, the header identifies the client program and not the user (RFC 6749, section
 * 2.3.1), and is ignored.
 * @throws parameter-invalid if the form and the header name different users
 */
function passwordIn(c: Context<AppEnv>, form: NamedPassword): NamedPassword {
  if (form.password !== '') return form;
  const basic = basicIn(c.req.header('authorization') ?? '');
  if (basic && form.name !== '' && form.name !== basic.name) {
    throw new Refusal('parameter-invalid', {
      message: 'the form and the Authorization header name different users: send one of them',
    });
  }
  return basic ?? form;
}

async function answer(
  c: Context<AppEnv>,
  credential: Credential | null,
  { scopes, offline, oauth }: { scopes: string[]; offline: boolean; oauth: boolean },
): Promise<Response> {
  const arrival = arrivalOf(c);
  const requested = requestedScopes(scopes, arrival.service);
  const lasting = offline && credential !== null;
  const authority = await loadRights(arrival, credential, { repositories: repositoriesIn(requested) });
  c.set('subject', authority.subject);
  await limitTokenRequests(c, authority.subject);
  if (startsLogin(authority, lasting)) await limitLogins(c, authority.subject);
  const issued = await issueToken({ ...arrival, authority }, requested, lasting);
  const body = {
    ...(oauth ? { scope: issued.scope } : { token: issued.token }),
    access_token: issued.token,
    expires_in: issued.expiresIn,
    issued_at: new Date(issued.issuedAt).toISOString(),
    ...(issued.refreshToken === null ? {} : { refresh_token: issued.refreshToken }),
  };
  return c.json(body, 200, { 'cache-control': 'no-store' });
}
