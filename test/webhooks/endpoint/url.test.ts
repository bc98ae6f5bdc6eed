/** Why the URL of a webhook is refused, for somebody who tries webhooks on one machine for the first time. */
import { expect, test } from 'vitest';
import { refusalOfUrl } from '../../../src/webhooks/rules.ts';

const ORIGINS = ['http://127.0.0.1:8787', 'https://registry.acme.com'];
const SETTING = 'INSECURE_WEBHOOKS=on';
const off = (url: string) => refusalOfUrl({}, url, ORIGINS);
const on = (url: string) => refusalOfUrl({ INSECURE_WEBHOOKS: 'on' }, url, ORIGINS);

test.each([
  ['http://127.0.0.1:9000/', 'an address begins with https://'],
  ['http://localhost:9000/', 'an address begins with https://'],
  ['https://localhost:9000/', 'the host is not public: the internet has no names under ".localhost"'],
  ['http://hooks.example.com/', 'an address begins with https://'],
  ['https://10.0.0.1/', 'the host is an IP address (private): only public names are allowed'],
])('%s is refused with the setting that allows it, and is not said to be the registry', (url, why) => {
  expect(off(url)).toBe(`${why}. For development, ${SETTING} allows plain http and private addresses`);
  expect(on(url)).toBeNull();
});

test.each([
  'http://127.0.0.1:8787/',
  'http://localhost:8787/v2/',
  'https://registry.acme.com/',
  'https://registry.acme.com:8443/',
])('%s is the registry itself, and no setting is named', (url) => {
  expect(off(url)).toBe('this is the registry itself');
});

test('a port that Cloudflare does not proxy is refused without the name of the setting', () => {
  expect(off('https://hooks.example.com:9000/')).toBe('port 9000 is none of 443, 2053, 2083, 2087, 2096, 8443');
});
