/** Signatures of deliveries: known values, a receiver with the public library, and the secrets during a rotation. */
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { allSecrets, secretOf, signatureHeaders, signedWith } from '../../../src/webhooks/endpoint/signature.ts';

const env = { REGISTRY_SECRET: 'a-secret-of-the-tests-0123456789abcdef' };
const rotated = { REGISTRY_SECRET: 'another-secret-of-the-tests-0123456789', REGISTRY_SECRET_PREVIOUS: env.REGISTRY_SECRET };
const signer = { id: 'wh_aaaaaaaaaaaaaaaaaaaa', generation: 1, previousUntil: 0 };
const now = Math.floor(Date.now() / 1000);
const message = { id: 'wh_aaaaaaaaaaaaaaaaaaaa_7', body: '{"a":"ü 🚀"}', now };

const VECTOR = {
  id: 'msg_1',
  now: 1700000000,
  body: '{"type":"image.pushed","timestamp":"2026-01-01T00:00:00Z","data":{"repository":"team/app","tag":"v1","digest":"sha256:abc"}}',
};

test('a known message has a known signature', async () => {
  const headers = await signedWith(['whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH'], VECTOR);
  expect(headers['webhook-signature']).toBe('v1,GbH4MmWQRWHHktj77noA0hSRhywtgnhCO91rqITWDko=');
  expect(headers).toMatchObject({ 'webhook-id': 'msg_1', 'webhook-timestamp': '1700000000' });
});

test('the public library verifies our signatures', async () => {
  const secret = await secretOf(env, signer);
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(new Webhook(secret).verify(message.body, await signatureHeaders(env, signer, message))).toEqual({ a: 'ü 🚀' });
});

test.each([
  ['body', '{"a":"ü 🚁"}', {}],
  ['id', message.body, { 'webhook-id': 'wh_aaaaaaaaaaaaaaaaaaaa_8' }],
  ['time', message.body, { 'webhook-timestamp': String(now + 1) }],
  ['signature', message.body, { 'webhook-signature': `v1,${btoa('x'.repeat(32))}` }],
])('another %s is not what was signed', async (_, body, change) => {
  const webhook = new Webhook(await secretOf(env, signer));
  const headers = await signatureHeaders(env, signer, message);
  expect(() => webhook.verify(body, { ...headers, ...change })).toThrow(/signature/i);
});

test('a receiver refuses signatures older than five minutes, so each attempt is signed at its own time', async () => {
  const headers = await signatureHeaders(env, signer, { ...message, now: now - 301 });
  const webhook = new Webhook(await secretOf(env, signer));
  expect(() => webhook.verify(message.body, headers)).toThrow(/too old/);
});

describe('secrets', () => {
  /** The names of the secrets with which the signature is valid. */
  async function takers(secrets: Record<string, string>, headers: Record<string, string>): Promise<string[]> {
    return Object.entries(secrets).flatMap(([name, secret]) => {
      try {
        new Webhook(secret).verify(message.body, headers);
        return [name];
      } catch {
        return [];
      }
    });
  }

  const generations = async (under: typeof env) => ({
    first: await secretOf(under, { ...signer, generation: 1 }),
    second: await secretOf(under, { ...signer, generation: 2 }),
    third: await secretOf(under, { ...signer, generation: 3 }),
  });

  test.each([
    ['while they overlap both sign', 3, now + 1, ['second', 'third']],
    ['after that the new one alone', 3, now, ['third']],
    ['the first has none before it', 1, now + 1, ['first']],
  ])('of a webhook: %s', async (_, generation, previousUntil, expected) => {
    const headers = await signatureHeaders(env, { ...signer, generation, previousUntil }, message);
    expect(await takers(await generations(env), headers)).toEqual(expected);
  });

  test("while the registry's secret is replaced, secrets derived from the old one sign as well", async () => {
    const headers = await signatureHeaders(rotated, { ...signer, generation: 2, previousUntil: now + 1 }, message);
    const [old, young] = await Promise.all([generations(env), generations({ REGISTRY_SECRET: rotated.REGISTRY_SECRET })]);
    expect(await takers(old, headers)).toEqual(['first', 'second']);
    expect(await takers(young, headers)).toEqual(['first', 'second']);
    expect(headers['webhook-signature']?.split(' ')).toHaveLength(4);
    const after = await signatureHeaders({ REGISTRY_SECRET: rotated.REGISTRY_SECRET }, signer, message);
    expect(await takers(old, after)).toEqual([]);
  });

  test('are all redacted from an answer', async () => {
    const all = await allSecrets(rotated, { ...signer, generation: 2, previousUntil: 0 });
    const young = await generations({ REGISTRY_SECRET: rotated.REGISTRY_SECRET });
    const old = await generations(env);
    expect(all.sort()).toEqual([young.first, young.second, old.first, old.second].sort());
  });

  test('differ between webhooks and generations', async () => {
    const ids = ['wh_aaaaaaaaaaaaaaaaaaaa', 'wh_baaaaaaaaaaaaaaaaaaa'];
    const all = await Promise.all(ids.flatMap((id) => [1, 2].map((generation) => secretOf(env, { id, generation }))));
    expect(new Set(all).size).toBe(4);
  });
});

test.each(['x-hub-signature-256', 'x-signature'])('%s is the HMAC of the body with the secret as shown', async (name) => {
  const headers = await signatureHeaders(env, { ...signer, generation: 2, previousUntil: now + 9 }, message);
  const secret = await secretOf(env, { ...signer, generation: 2 });
  const encoder = new TextEncoder();
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, [
    'verify',
  ]);
  const bytes = Uint8Array.from(headers[name]?.replace('sha256=', '').match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  expect(headers[name]).toMatch(/^sha256=[0-9a-f]{64}$/);
  expect(await crypto.subtle.verify('HMAC', key, bytes, encoder.encode(message.body))).toBe(true);
});
