import { expect, test } from 'vitest';
import { administratorPassword, authenticate } from '../../src/auth/accounts.ts';
import { derivedPassword, requireSecret, sameSecret, signingKey, verificationKeys } from '../../src/auth/secrets.ts';

const SECRET = 'a-secret-of-the-tests-0123456789abcdef';

test('keys of different labels differ, and are the same each time', async () => {
  const env = { REGISTRY_SECRET: SECRET };
  const [access, refresh, again] = await Promise.all([
    signingKey(env, 'access-token'),
    signingKey(env, 'refresh-token'),
    signingKey({ ...env }, 'access-token'),
  ]);
  expect(access).toEqual(again);
  expect(access).not.toEqual(refresh);
  expect(access.byteLength).toBe(32);
});

test('while the secret is replaced, the one before verifies but does not sign', async () => {
  const old = { REGISTRY_SECRET: SECRET };
  const now = { REGISTRY_SECRET: `new-${SECRET}`, REGISTRY_SECRET_PREVIOUS: SECRET };
  const oldKey = await signingKey(old, 'access-token');
  expect(await signingKey(now, 'access-token')).not.toEqual(oldKey);
  expect(await verificationKeys(now, 'access-token')).toContainEqual(oldKey);
});

test.each([undefined, '', 'short'])('a deployment whose secret is %j has none', (secret) => {
  expect(() => requireSecret(secret === undefined ? {} : { REGISTRY_SECRET: secret })).toThrow(/REGISTRY_SECRET/);
});

test('a derived password has a prefix that scanners know and 160 bits', async () => {
  expect(await derivedPassword({ REGISTRY_SECRET: SECRET }, 'admin')).toMatch(/^berth_[a-z2-7]{32}$/);
});

test('the administrator has the password of the settings, or else the derived one', async () => {
  expect(await administratorPassword({ REGISTRY_SECRET: SECRET, ADMIN_PASSWORD: 'given' })).toBe('given');
  expect(await administratorPassword({ REGISTRY_SECRET: SECRET })).toBe(
    await derivedPassword({ REGISTRY_SECRET: SECRET }, 'admin'),
  );
});

test('a password is right for its account alone, whatever the case of the name', async () => {
  const env = { REGISTRY_SECRET: SECRET, ADMIN_PASSWORD: 'given' };
  expect(await authenticate(env, 'ADMIN', 'given')).toMatchObject({ subject: 'user:admin' });
  expect(await authenticate(env, 'admin', 'Given')).toBeNull();
  expect(await authenticate(env, 'other', 'given')).toBeNull();
  expect(await authenticate(env, '', '')).toBeNull();
});

test('secrets are compared as a whole', async () => {
  expect(await sameSecret('one', 'one')).toBe(true);
  expect(await sameSecret('one', 'onE')).toBe(false);
  expect(await sameSecret('one', 'one more')).toBe(false);
  expect(await sameSecret('', 'one')).toBe(false);
});
