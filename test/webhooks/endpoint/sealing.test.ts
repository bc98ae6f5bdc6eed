/** Sealed endpoints: only the registry and webhook that sealed an endpoint can open it, and the shown URL has no secrets. */
import { describe, expect, test } from 'vitest';
import { seal, shownUrl, unseal } from '../../../src/webhooks/endpoint/sealing.ts';

const OLD = 'a-secret-of-the-tests-0123456789abcdef';
const NEW = 'another-secret-of-the-tests-0123456789';
const endpoint = { url: 'https://hooks.example.com/a?token=ü', headers: { Authorization: 'Bearer s3cret' } };
const ID = 'wh_aaaaaaaaaaaaaaaaaaaa';

test('a sealed endpoint can be opened again, and reveals nothing', async () => {
  const sealed = await seal({ REGISTRY_SECRET: OLD }, ID, endpoint);
  expect(await unseal({ REGISTRY_SECRET: OLD }, ID, sealed)).toEqual(endpoint);
  expect(atob(sealed)).not.toMatch(/hooks|Bearer|token/);
});

test('sealing the same endpoint twice gives different results', async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => seal({ REGISTRY_SECRET: OLD }, ID, endpoint)));
  expect(new Set(all).size).toBe(20);
});

test('it cannot be used for another webhook', async () => {
  const sealed = await seal({ REGISTRY_SECRET: OLD }, ID, endpoint);
  expect(await unseal({ REGISTRY_SECRET: OLD }, 'wh_baaaaaaaaaaaaaaaaaaa', sealed)).toBeNull();
});

test("it can be opened while the registry's secret is being replaced, and not after that", async () => {
  const sealed = await seal({ REGISTRY_SECRET: OLD }, ID, endpoint);
  expect(await unseal({ REGISTRY_SECRET: NEW, REGISTRY_SECRET_PREVIOUS: OLD }, ID, sealed)).toEqual(endpoint);
  expect(await unseal({ REGISTRY_SECRET: NEW }, ID, sealed)).toBeNull();
});

test('changing any byte makes it invalid', async () => {
  const sealed = await seal({ REGISTRY_SECRET: OLD }, ID, endpoint);
  const bytes = atob(sealed);
  for (const at of [0, 11, 12, 30, bytes.length - 1]) {
    const other = bytes.slice(0, at) + String.fromCharCode(bytes.charCodeAt(at) ^ 1) + bytes.slice(at + 1);
    expect(await unseal({ REGISTRY_SECRET: OLD }, ID, btoa(other))).toBeNull();
  }
});

describe('shown is', () => {
  test.each([
    ['https://hooks.example.com/a/b', false, 'https://hooks.example.com/a/b'],
    ['https://hooks.example.com/a?token=1', false, 'https://hooks.example.com/a?…'],
    ['https://hooks.example.com:8443/', false, 'https://hooks.example.com:8443/'],
    ['https://discord.com/api/webhooks/1234567890123456789/s3cr3t-of-discord', false, 'https://discord.com/api/webhooks/…/…'],
    [
      'https://acme.webhook.office.com/a/IncomingWebhook/0123456789abcdef?b',
      false,
      'https://acme.webhook.office.com/a/IncomingWebhook/…?…',
    ],
    ['https://hooks.slack.com/services/T/B/x?y=1', true, 'https://hooks.slack.com/…'],
  ])('%s (path secret: %s) as %s', (url, secret, shown) => expect(shownUrl({ url, headers: {} }, secret)).toBe(shown));
});
