import { expect, test } from 'vitest';
import { credentialOfAdministrator, credentialOfPassword } from '../../src/auth/passwords.ts';
import { accessKeySecret, administratorPassword, isAccessKeySecret, keyIdFrom, keyIdIn } from '../../src/auth/secrets.ts';
import { requireSecret, sameSecret, signingKey, verificationKeys } from '../../src/secrets.ts';

const SECRET = 'a-secret-of-the-tests-0123456789abcdef';

test('keys of different labels differ, and are deterministic', async () => {
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

test('while the secret is replaced, the previous one verifies and does not sign', async () => {
  const old = { REGISTRY_SECRET: SECRET };
  const now = { REGISTRY_SECRET: `new-${SECRET}`, REGISTRY_SECRET_PREVIOUS: SECRET };
  const oldKey = await signingKey(old, 'access-token');
  expect(await signingKey(now, 'access-token')).not.toEqual(oldKey);
  expect(await verificationKeys(now, 'access-token')).toContainEqual(oldKey);
});

test.each([undefined, '', 'short'])('a deployment whose secret is %j has none', (secret) => {
  expect(() => requireSecret(secret === undefined ? {} : { REGISTRY_SECRET: secret })).toThrow(/REGISTRY_SECRET/);
});

test('a derived password has a prefix for secret scanners, and 160 bits', async () => {
  expect(await administratorPassword({ REGISTRY_SECRET: SECRET })).toMatch(/^berth_[a-z2-7]{32}$/);
});

test('the administrator has the configured password, or else the derived one', async () => {
  expect(await administratorPassword({ REGISTRY_SECRET: SECRET, ADMIN_PASSWORD: 'given' })).toBe('given');
  expect(await administratorPassword({ REGISTRY_SECRET: SECRET })).not.toBe('given');
});

test("an access key's secret names its key, and is valid under the previous secret as well", async () => {
  const env = { REGISTRY_SECRET: SECRET };
  const id = await keyIdFrom(env, 'seed');
  expect(id).toMatch(/^BRTH[A-Z2-7]{16}$/);
  const secret = await accessKeySecret(env, id);
  expect(secret).toMatch(/^berth_BRTH[A-Z2-7]{16}_[a-z2-7]{32}$/);
  expect(keyIdIn(secret)).toBe(id);
  expect(await isAccessKeySecret(env, secret)).toBe(true);
  const replaced = { REGISTRY_SECRET: `new-${SECRET}`, REGISTRY_SECRET_PREVIOUS: SECRET };
  expect(await isAccessKeySecret(replaced, secret)).toBe(true);
  expect(await isAccessKeySecret({ REGISTRY_SECRET: `new-${SECRET}` }, secret)).toBe(false);
  const other = await keyIdFrom(env, 'another seed');
  expect(await isAccessKeySecret(env, secret.replace(id, other))).toBe(false);
});

test('a password is valid for its account only, ignoring the case of the name', async () => {
  const env = { REGISTRY_SECRET: SECRET, ADMIN_PASSWORD: 'given' };
  const proof = async (name: string, password: string) => {
    // A password that a person may have chosen counts as a guess, whether it is correct or wrong.
    expect(await credentialOfPassword(env, name, password, { service: 'registry.test', now: Date.now() })).toBe('guess');
    return credentialOfAdministrator(env, name, password);
  };
  expect(await proof('ADMIN', 'given')).toMatchObject({ kind: 'password' });
  expect(await proof('admin', 'Given')).toBeNull();
  expect(await proof('other', 'given')).toBeNull();
  expect(await proof('', '')).toBeNull();
});

test('secrets are compared in full', async () => {
  expect(await sameSecret('one', 'one')).toBe(true);
  expect(await sameSecret('one', 'onE')).toBe(false);
  expect(await sameSecret('one', 'one more')).toBe(false);
  expect(await sameSecret('', 'one')).toBe(false);
});
