/** Sign-in by a real OpenID Connect provider (the package oidc-provider) under `npm start`. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider from 'oidc-provider';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../world/registry.ts';

let registry: Registry;
let server: Server;
let issuer: string;

beforeAll(async () => {
  let provider: Provider | undefined;
  server = createServer((request, response) => provider?.callback()(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  registry = await startRegistry({
    env: {
      INSECURE_ISSUERS: 'on',
      OIDC_ISSUER: issuer,
      OIDC_CLIENT_ID: 'berth',
      OIDC_CLIENT_SECRET: 'a-client-secret',
      OIDC_NAME: 'Example ID',
    },
  });
  provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'berth',
        client_secret: 'a-client-secret',
        redirect_uris: [`${registry.url}/sign-in/provider/callback`],
      },
    ],
    cookies: { keys: ['a-key-of-the-tests'] },
  });
});

afterAll(async () => {
  await registry?.stop();
  server?.close();
});

/** A browser that keeps the cookies of each host, and follows redirects by hand. */
class Client {
  readonly cookies = new Map<string, Map<string, string>>();
  /** The cookies that the registry has deleted. */
  readonly deleted = new Map<string, string>();

  async send(url: string, form?: Record<string, string>): Promise<Response> {
    const { origin } = new URL(url);
    const jar = this.cookies.get(origin) ?? new Map<string, string>();
    this.cookies.set(origin, jar);
    const response = await fetch(url, {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: {
        accept: 'text/html',
        cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(form ? { origin, 'content-type': 'application/x-www-form-urlencoded' } : {}),
      },
      ...(form ? { body: new URLSearchParams(form).toString() } : {}),
    });
    for (const line of response.headers.getSetCookie()) {
      const [name = '', value = ''] = (line.split(';')[0] ?? '').split(/=(.*)/s);
      if (/max-age=0|expires=Thu, 01 Jan 1970/i.test(line)) {
        this.deleted.set(name, jar.get(name) ?? '');
        jar.delete(name);
      } else jar.set(name, value);
    }
    return response;
  }

  /** Follows redirects and answers the forms of the provider, up to a page of the registry. */
  async through(start: string, login: string): Promise<{ url: string; response: Response }> {
    let url = start;
    let response = await this.send(url);
    for (let step = 0; step < 20; step++) {
      const location = response.headers.get('location');
      if (location !== null) {
        url = new URL(location, url).href;
        response = await this.send(url);
        continue;
      }
      if (url.startsWith(registry.url)) return { url, response };
      const page = await response.text();
      const [, action = ''] = /action="([^"]+)"/.exec(page) ?? [];
      const [, prompt = ''] = /name="prompt" value="([^"]+)"/.exec(page) ?? [];
      if (prompt === '') throw new Error(`${url} has no form: ${page.slice(0, 2000)}`);
      url = new URL(action, url).href;
      response = await this.send(url, prompt === 'login' ? { prompt, login, password: 'anything' } : { prompt });
    }
    throw new Error('the sign-in does not end');
  }
}

async function signedIn(): Promise<Client> {
  const client = new Client();
  const response = await client.send(`${registry.url}/sign-in`, { name: 'admin', password: registry.password });
  expect(response.status).toBe(303);
  return client;
}

test('an identity is linked by a person who is signed in, and then signs in without an access key', async () => {
  const stranger = await new Client().through(`${registry.url}/sign-in/provider`, 'somebody');
  expect([stranger.response.status, await stranger.response.text()]).toEqual([
    403,
    expect.stringContaining('belongs to no account here'),
  ]);

  const admin = await signedIn();
  const { response } = await admin.through(`${registry.url}/account/identities/link`, 'somebody');
  const page = await response.text();
  expect(page).toContain('Link this identity to your account?');
  const identity = /name="identity" value="([^"]+)"/.exec(page)?.[1] ?? '';
  const { password } = registry;
  expect((await admin.send(`${registry.url}/account/identities`, { identity, password })).status).toBe(303);
  expect(await (await admin.send(`${registry.url}/account/identities`)).text()).toContain('somebody');

  const browser = new Client();
  const landed = await browser.through(`${registry.url}/sign-in/provider?next=/repositories`, 'somebody');
  expect([landed.url, landed.response.status]).toEqual([`${registry.url}/repositories`, 200]);
  expect(await landed.response.text()).toContain('<span>admin</span>');

  // A person without an access key makes one by signing in at the provider again, which asks for the password again.
  const again = await browser.through(`${registry.url}/account/keys/-/new/provider`, 'somebody');
  const confirmation = /name="confirmation" value="([^"]+)"/.exec(await again.response.text())?.[1] ?? '';
  const made = await browser.send(`${registry.url}/account/keys/-/new`, { name: 'first', confirmation });
  expect([made.status, (await made.text()).includes('data-secret')]).toEqual([200, true]);
  expect((await browser.send(`${registry.url}/account/keys/-/new`, { name: 'second', confirmation })).status).toBe(409);
  // The answer of the provider counts once, even for a browser that has kept the cookie of the sign-in.
  browser.cookies.get(registry.url)?.set('berth-sign-in', browser.deleted.get('berth-sign-in') ?? '');
  expect((await browser.send(again.url)).status).toBe(401);

  // A thief with the session cookie must sign in at the provider, and can only do so as the thief.
  const thief = new Client();
  thief.cookies.set(registry.url, new Map(browser.cookies.get(registry.url)));
  const stolen = await thief.through(`${registry.url}/account/keys/-/new/provider`, 'thief');
  expect([stolen.response.status, await stolen.response.text()]).toEqual([
    403,
    expect.stringContaining('not linked to your account'),
  ]);

  // An equal name elsewhere is another identity.
  const other = await new Client().through(`${registry.url}/sign-in/provider`, 'somebody-else');
  expect(other.response.status).toBe(403);

  // The identity is removed, and signs nobody in any more.
  const removed = { issuer, subject: 'somebody' };
  expect((await admin.send(`${registry.url}/account/identities/remove`, removed)).status).toBe(303);
  expect((await new Client().through(`${registry.url}/sign-in/provider`, 'somebody')).response.status).toBe(403);
});

test('the page to sign in offers the provider', async () => {
  const page = await (await new Client().send(`${registry.url}/sign-in`)).text();
  expect(page).toContain('Sign in with Example ID');
});
