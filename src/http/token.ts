/**
 * The token service: `GET /token` (distribution, "Token Authentication Specification") and `POST /token` (the same,
 * "OAuth2 Token Authentication"). Grants what the caller has of what was asked, which may be nothing; that is no error.
 */
import { type Context, Hono } from 'hono';
import { authenticate as authenticateAccount } from '../auth/accounts.ts';
import { ANONYMOUS, type Caller, grantable } from '../auth/policy.ts';
import { formatGrant, type Grant, MAX_SCOPES, parseScopes } from '../auth/scope.ts';
import { ACCESS_TOKEN_LIFETIME, mintAccessToken, mintRefreshToken, verifyRefreshToken } from '../auth/tokens.ts';
import { badParameter, RegistryError } from '../oci/errors.ts';
import { callerByPassword } from './authenticate.ts';
import { type AppEnv, occasionOf } from './context.ts';
import { readBody } from './params.ts';

/** Bytes of a form: many scopes and a token fit, a flood does not. */
const FORM_MAX_BYTES = 64 * 1024;

export const token = new Hono<AppEnv>({ strict: false })
  .get('/', async (c) => {
    const header = c.req.header('authorization');
    const caller = header === undefined ? ANONYMOUS : await basicCaller(c, header);
    if (!caller) throw wrongCredentials();
    const offline = c.req.query('offline_token') === 'true' && caller !== ANONYMOUS;
    return answer(c, caller, c.req.queries('scope') ?? [], offline, false);
  })

  .post('/', async (c) => {
    const form = new URLSearchParams(new TextDecoder().decode(await readBody(c, FORM_MAX_BYTES)));
    const caller = await callerByForm(c, form);
    if (!caller) throw wrongCredentials();
    return answer(c, caller, form.getAll('scope'), form.get('access_type') === 'offline', true);
  });

function basicCaller(c: Context<AppEnv>, header: string): Promise<Caller | null> | null {
  const [scheme = '', value = ''] = header.split(' ', 2);
  return scheme.toLowerCase() === 'basic' ? callerByPassword(c, value) : null;
}

function callerByForm(c: Context<AppEnv>, form: URLSearchParams): Promise<Caller | null> {
  switch (form.get('grant_type')) {
    case 'password':
      return authenticateAccount(c.env, form.get('username') ?? '', form.get('password') ?? '');
    case 'refresh_token':
      return verifyRefreshToken(c.env, form.get('refresh_token') ?? '', occasionOf(c));
    default:
      throw badParameter('grant_type is password or refresh_token');
  }
}

async function answer(
  c: Context<AppEnv>,
  caller: Caller,
  scopes: string[],
  offline: boolean,
  oauth: boolean,
): Promise<Response> {
  const grants = grantable(caller, askedFor(scopes));
  const occasion = occasionOf(c);
  const access = await mintAccessToken(c.env, caller.subject, grants, occasion);
  const refresh = offline ? { refresh_token: await mintRefreshToken(c.env, caller.subject, occasion) } : {};
  const scope = oauth ? { scope: grants.map(formatGrant).join(' ') } : { token: access };
  const times = { expires_in: ACCESS_TOKEN_LIFETIME, issued_at: new Date(occasion.now).toISOString() };
  return c.json({ ...scope, access_token: access, ...times, ...refresh }, 200, { 'cache-control': 'no-store' });
}

/** @throws UNSUPPORTED (400) for more scopes than any client needs */
function askedFor(scopes: string[]): Grant[] {
  if (scopes.reduce((count, text) => count + text.split(' ').length, 0) > MAX_SCOPES) {
    throw badParameter(`a token is for up to ${MAX_SCOPES} scopes`);
  }
  return parseScopes(scopes);
}

function wrongCredentials(): RegistryError {
  const headers = { 'www-authenticate': 'Basic realm="berth"', 'cache-control': 'no-store' };
  return new RegistryError('UNAUTHORIZED', { message: 'the user name or the password is wrong', headers });
}
