/**
 * The token service: `GET /token` (distribution, "Token Authentication Specification") and `POST /token` (the same,
 * "OAuth2 Token Authentication"). Grants what the caller has of what was asked, which may be nothing; that is no error.
 */
import { type Context, Hono } from 'hono';
import { noteLogin } from '../auth/login-log.ts';
import { beginLogin, continueLogin } from '../auth/logins.ts';
import { noteOutsideLogin } from '../auth/outside/logins.ts';
import { grantable } from '../auth/policy.ts';
import type { Proof } from '../auth/proof.ts';
import { formatGrant, type Grant, MAX_SCOPES, parseScopes, wordsOf } from '../auth/scope.ts';
import { mintAccessToken, verifyRefreshToken } from '../auth/tokens.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { authorityOf, logged, parseBasic, partsOf, proofOf, proofOfBasic, wrongCredentials } from './authenticate.ts';
import { type AppEnv, occasionOf } from './context.ts';
import { limitLogins, limitTokenRequests } from './limits.ts';
import { readBody } from './params.ts';

/** Bytes of a form: many scopes and a token fit, a flood does not. */
const FORM_MAX_BYTES = 64 * 1024;

export const token = new Hono<AppEnv>({ strict: false })
  .get('/', async (c) => {
    const scopes = c.req.queries('scope') ?? [];
    const offline = /^(?:true|1)$/i.test(c.req.query('offline_token') ?? '');
    return answer(c, await proofByHeader(c), { scopes, offline, oauth: false });
  })

  .post('/', async (c) => {
    const form = new URLSearchParams(new TextDecoder().decode(await readBody(c, FORM_MAX_BYTES)));
    const scopes = form.getAll('scope');
    return answer(c, await proofByForm(c, form), { scopes, offline: form.get('access_type') === 'offline', oauth: true });
  });

async function proofByHeader(c: Context<AppEnv>): Promise<Proof | null> {
  const header = c.req.header('authorization');
  if (header === undefined) return null;
  const [scheme, value] = partsOf(header);
  if (scheme !== 'basic') throw wrongCredentials(c);
  return proofOfBasic(c, value);
}

async function proofByForm(c: Context<AppEnv>, form: URLSearchParams): Promise<Proof> {
  switch (form.get('grant_type')) {
    case 'password':
      return proofByPassword(c, form.get('username') ?? '', form.get('password') ?? '');
    case 'refresh_token': {
      const proof = await verifyRefreshToken(c.env, form.get('refresh_token') ?? '', occasionOf(c));
      if (!proof) throw wrongCredentials(c);
      return proof;
    }
    default:
      throw new Refusal('parameter-invalid', { message: 'grant_type is password or refresh_token' });
  }
}

/**
 * A form without a password has it in the header, as some clients send it. A header beside a form that has one is the client's own
 * (RFC 6749, section 2.3.1), and says nothing of the user.
 */
async function proofByPassword(c: Context<AppEnv>, username: string, password: string): Promise<Proof> {
  if (password !== '') return proofOf(c, username, password);
  const [scheme, value] = partsOf(c.req.header('authorization') ?? '');
  const basic = scheme === 'basic' ? parseBasic(value) : null;
  if (basic && username !== '' && username !== basic.name) {
    throw new Refusal('parameter-invalid', { message: 'the form and the Authorization header name different users' });
  }
  return basic ? proofOf(c, basic.name, basic.password) : proofOf(c, username, password);
}

async function answer(
  c: Context<AppEnv>,
  proof: Proof | null,
  { scopes, offline, oauth }: { scopes: string[]; offline: boolean; oauth: boolean },
): Promise<Response> {
  const asked = askedFor(scopes, occasionOf(c).service);
  const repositories = asked.flatMap(({ type, name }) => (type === 'repository' ? [name] : []));
  const authority = await authorityOf(c, proof, repositories);
  await limitTokenRequests(c, authority.subject);
  if (offline && proof && !authority.login) await limitLogins(c, authority.subject);
  const occasion = occasionOf(c);
  if (!(await continueLogin(c.env, authority, offline))) throw wrongCredentials(c);
  if (offline && proof && !authority.login) await logged(c, (where) => noteLogin(c.env, authority, where, occasion.now));
  const grants = grantable(authority, asked);
  const access = await mintAccessToken(c.env, authority, grants, occasion);
  // A client that gets no refresh token shows the same password again, after it has expired too.
  if (authority.unseen && !offline) await noteOutsideLogin(c.env, authority.unseen);
  const refresh = offline && proof ? { refresh_token: await beginLogin(c.env, authority, occasion) } : {};
  const scope = oauth ? { scope: grants.map(formatGrant).join(' ') } : { token: access.token };
  const seconds = Math.max(1, access.expiresAt - Math.floor(occasion.now / 1000));
  const times = { expires_in: seconds, issued_at: new Date(occasion.now).toISOString() };
  return c.json({ ...scope, access_token: access.token, ...times, ...refresh }, 200, { 'cache-control': 'no-store' });
}

/** @throws parameter-invalid (400) for more scopes than any client needs */
function askedFor(scopes: string[], service: string): Grant[] {
  const words = wordsOf(scopes);
  if (words.length > MAX_SCOPES)
    throw new Refusal('parameter-invalid', { message: `a token is for up to ${MAX_SCOPES} scopes` });
  return parseScopes(words, service);
}
