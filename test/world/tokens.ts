/** Access tokens for tests: those that clients get, and those that attackers could try to make. */
import { type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose';
import { type KeyLabel, signingKey } from '../../src/secrets.ts';
import { ORIGIN, type World } from './world.ts';

/** Returns the token that the token service issues to the administrator for these scopes. */
export async function tokenFor(world: World, ...scopes: string[]): Promise<string> {
  const query = scopes.map((scope) => `scope=${encodeURIComponent(scope)}`).join('&');
  const response = await world.fetch('GET', `/token?service=registry.test&${query}`);
  return ((await response.json()) as { token: string }).token;
}

export const SERVICE = new URL(ORIGIN).host;

/** Returns a token signed with the registry's own key for `label`. A claim with the value `undefined` is removed. */
export async function forge(
  world: World,
  label: KeyLabel,
  claims: Record<string, unknown>,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const usual = {
    iss: 'berth',
    aud: SERVICE,
    sub: 'user:admin',
    iat: now,
    nbf: now,
    exp: now + 300,
    jti: 'test',
    via: { epoch: 0 },
    access: [{ type: 'repository', name: 'acme/api', actions: ['pull', 'push', 'delete'] }],
  };
  const payload = Object.fromEntries(
    Object.entries({ ...usual, ...claims }).filter(([, value]) => value !== undefined),
  ) as JWTPayload;
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'HS256', typ: 'berth-access+jwt', ...header })
    .sign(await signingKey(world.env, label));
}
