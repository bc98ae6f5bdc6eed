/** Pages and documents for people: security headers and caching. */
import { beforeAll, describe, expect, test } from 'vitest';
import { newWorld, type World, worldOf } from '../world/world.ts';

let world: World;

beforeAll(async () => {
  world = await newWorld();
});

const get = (path: string, headers: Record<string, string> = {}, of = world) =>
  of.fetch('GET', path, { authorization: null, headers });

describe.each(['/', '/api', '/api/', '/join', '/join/'])('the page %s', (path) => {
  test('cannot be framed, and shares no window with another origin', async () => {
    const { headers } = await get(path);
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
    // Forms of the console need the origin of their page.
    expect(headers.get('referrer-policy')).toBe(path === '/' ? 'same-origin' : 'no-referrer');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('stays on https if requested by https, and sends no such header on a laptop', async () => {
    expect((await get(path)).headers.get('strict-transport-security')).toMatch(/^max-age=\d{8}/);
    const laptop = worldOf({ ...world.env, PUBLIC_URL: 'http://localhost:8787' });
    expect((await get(path, {}, laptop)).headers.get('strict-transport-security')).toBeNull();
  });

  test('lets the keyboard reach everything that scrolls', async () => {
    const pres = (await (await get(path)).text()).match(/<pre[^>]*>/g) ?? [];
    expect(pres.length).toBeGreaterThan(0);
    for (const pre of pres) expect(pre).toBe('<pre tabindex="0">');
  });
});

describe.each([
  ['/api', 'text/html; charset=UTF-8'],
  ['/api/openapi.json', 'application/json'],
  ['/api/event.schema.json', 'application/schema+json'],
])('the document %s', (path, type) => {
  test('is the same each time and can be cached', async () => {
    const [first, second] = [await get(path), await get(path)];
    const etag = first.headers.get('etag') ?? '';
    expect(etag).toMatch(/^"sha256:[0-9a-f]{64}"$/);
    expect(first.headers.get('content-type')).toBe(type);
    expect(second.headers.get('etag')).toBe(etag);
    expect(await second.text()).toBe(await first.text());
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await get(path, { 'if-none-match': known });
      expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
    }
    expect((await get(path, { 'if-none-match': '"other"' })).status).toBe(200);
  });

  test('differs by origin if it names the origin', async () => {
    const other = worldOf({ ...world.env, PUBLIC_URL: 'https://other.example' });
    const [here, there] = [await get(path), await get(path, {}, other)];
    expect(here.headers.get('etag') === there.headers.get('etag')).toBe(path.includes('event'));
    expect((await there.text()).includes('other.example')).toBe(!path.includes('event'));
  });
});

test('the page /api quotes the address of the registry in commands if a shell would read it in another way', async () => {
  const laptop = worldOf({ ...world.env, PUBLIC_URL: 'http://[::1]:8787' });
  const page = await (await get('/api', {}, laptop)).text();
  const commands = page.match(/curl (?:-X [A-Z]+ )?\S*http\S+/g) ?? [];
  expect(commands).toContain("curl 'http://[::1]:8787/api/v1/me'");
  expect(commands.filter((command) => !/^curl (?:-X [A-Z]+ )?('|&#39;)http:\/\/\[::1\]:8787\/\S+\1$/.test(command))).toEqual(
    [],
  );
  expect((await (await get('/api')).text()).includes('curl https://registry.test/api/v1/me -H')).toBe(true);
});

test.each(['/api', '/api/openapi.json'])('%s is a 503 to be retried while the static files cannot be read', async (path) => {
  const ASSETS = { fetch: async () => new Response(null, { status: 500 }) } as unknown as Fetcher;
  const response = await get(path, {}, worldOf({ ...world.env, ASSETS, PUBLIC_URL: 'https://unread.test' }));
  expect([response.status, response.headers.has('retry-after')]).toEqual([503, true]);
});

test('a document is served at its own address only', async () => {
  expect((await get('/reference/page.html')).status).toBe(404);
});

test('the page at the address of the registry is kept nowhere, because it differs by reader', async () => {
  const { headers } = await get('/');
  expect([headers.get('cache-control'), headers.get('etag')]).toEqual(['no-store', null]);
  expect(headers.get('content-type')).toBe('text/html; charset=UTF-8');
});

test('the page at the address of the registry shows how to log in and push, and links to the API', async () => {
  const text = await (await get('/')).text();
  expect(text).toContain('docker login registry.test<');
  expect(text).toContain('docker push registry.test/NAME/hello-world<');
  expect(text).toContain('user name is <code>admin</code>');
  expect(text).toContain('curl -u admin -X PUT https://registry.test/api/v1/users/alice<');
  expect(text).toContain('<a href="/api">');
  expect((await world.fetch('POST', '/', { authorization: null })).status).toBe(405);
});

test.each(['/api', '/join'])('the page %s wraps long commands in a narrow window', async (path) => {
  const [, style = ''] = /<style[^>]*>(.*)<\/style>/s.exec(await (await get(path)).text()) ?? [];
  expect(style).toMatch(/pre \{[^}]*white-space: pre-wrap;/);
});

test.each(['/api'])('the content security policy of the page %s allows its stylesheet', async (path) => {
  const response = await get(path);
  const style = /<style>(.*)<\/style>/s.exec(await response.text())?.[1] ?? '';
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(style)));
  expect(response.headers.get('content-security-policy')).toContain(`'sha256-${btoa(String.fromCharCode(...hash))}'`);
});
