/**
 * The token service: `GET /token` (distribution, "Token Authentication Specification") and `POST /token` (the same,
 * "OAuth2 Token Authentication"). Grants what the caller has of what was asked, which may be nothing; that is no error.
 */
import { type Context, Hono } from 'hono';
import { issueToken, repositoriesIn, requestedScopes, startsLogin } from '../app/tokens.ts';
import type { Credential } from '../auth/credential.ts';
import { verifyRefreshToken } from '../auth/tokens.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import {
  credentialOf,
  credentialOfBasic,
  loadCallerAuthority,
  logged,
  parseBasic,
  partsOf,
  wrongCredentials,
} from './authenticate.ts';
import { type AppEnv, runtimeOf } from './context.ts';
import { limitLogins, limitTokenRequests } from './limits.ts';
import { readBody } from './params.ts';

/** Bytes of a form: many scopes and a token fit, a flood does not. */
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

async function credentialByHeader(c: Context<AppEnv>): Promise<Credential | null> {
  const header = c.req.header('authorization');
  if (header === undefined) return null;
  const [scheme, value] = partsOf(header);
  if (scheme !== 'basic') throw wrongCredentials(c);
  return credentialOfBasic(c, value);
}

async function credentialByForm(c: Context<AppEnv>, form: URLSearchParams): Promise<Credential> {
  switch (form.get('grant_type')) {
    case 'password':
      return credentialByPassword(c, form.get('username') ?? '', form.get('password') ?? '');
    case 'refresh_token': {
      const credential = await verifyRefreshToken(c.env, form.get('refresh_token') ?? '', runtimeOf(c));
      if (!credential) throw wrongCredentials(c);
      return credential;
    }
    default:
      throw new Refusal('parameter-invalid', { message: 'grant_type is password or refresh_token' });
  }
}

/**
 * A form without a password has it in the header, as some clients send it. A header beside a form that has one is the client's own
 * (RFC 6749, section 2.3.1), and says nothing of the user.
 */
async function credentialByPassword(c: Context<AppEnv>, username: string, password: string): Promise<Credential> {
  if (password !== '') return credentialOf(c, username, password);
  const [scheme, value] = partsOf(c.req.header('authorization') ?? '');
  const basic = scheme === 'basic' ? parseBasic(value) : null;
  if (basic && username !== '' && username !== basic.name) {
    throw new Refusal('parameter-invalid', { message: 'the form and the Authorization header name different users' });
  }
  return basic ? credentialOf(c, basic.name, basic.password) : credentialOf(c, username, password);
}

async function answer(
  c: Context<AppEnv>,
  credential: Credential | null,
  { scopes, offline, oauth }: { scopes: string[]; offline: boolean; oauth: boolean },
): Promise<Response> {
  const context = runtimeOf(c);
  const requested = requestedScopes(scopes, context.service);
  const lasting = offline && credential !== null;
  const authority = await loadCallerAuthority(c, credential, repositoriesIn(requested));
  c.set('subject', authority.subject);
  await limitTokenRequests(c, authority.subject);
  if (startsLogin(authority, lasting)) await limitLogins(c, authority.subject);
  const call = { env: c.env, authority, context, logged: (note: Parameters<typeof logged>[1]) => logged(c, note) };
  const issued = await issueToken(call, requested, lasting).catch((error: unknown) => {
    throw isRefusal(error, 'unauthenticated') ? wrongCredentials(c) : error;
  });
  const body = {
    ...(oauth ? { scope: issued.scope } : { token: issued.token }),
    access_token: issued.token,
    expires_in: issued.expiresIn,
    issued_at: new Date(issued.issuedAt).toISOString(),
    ...(issued.refreshToken === null ? {} : { refresh_token: issued.refreshToken }),
  };
  return c.json(body, 200, { 'cache-control': 'no-store' });
}
