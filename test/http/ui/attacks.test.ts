/** What other sites and crafted addresses try with a signed-in browser. */
import { beforeEach, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
import { newWorld, type World } from '../../world/world.ts';

const ELSEWHERE = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
const SCRIPT = '"><script>attacked=1</script>';

let world: World;
let admin: Browser;
beforeEach(async () => {
  world = await newWorld();
  admin = await browserOf(world);
});

test('a form of another site signs nobody in and nobody out', async () => {
  const victim = new Browser(world);
  const response = await victim.post('/sign-in', { name: 'admin', password: 'the-password-of-the-tests' }, ELSEWHERE);
  expect([response.status, response.headers.get('set-cookie')]).toEqual([403, null]);
  expect((await admin.post('/sign-out', { everywhere: 'yes' }, ELSEWHERE)).status).toBe(403);
  expect((await admin.get('/account')).status).toBe(200);
});

test('the method of a request cannot be replaced by a header or a field', async () => {
  const replaced = { 'x-http-method-override': 'POST', 'x-method-override': 'POST' };
  expect((await admin.get('/sign-out?_method=POST', replaced)).status).toBe(405);
  expect((await admin.post('/repositories', { _method: 'GET' }, replaced)).status).toBe(405);
  expect((await admin.get('/account')).status).toBe(200);
});

test.each([
  `/repositories?search=${encodeURIComponent(SCRIPT)}&namespace=${encodeURIComponent(SCRIPT)}`,
  `/repositories/${encodeURIComponent(SCRIPT)}`,
  `/${encodeURIComponent(SCRIPT)}`,
  `/account?notice=${encodeURIComponent(SCRIPT)}`,
  `/sign-in?next=${encodeURIComponent(SCRIPT)}`,
  `/users?search=${encodeURIComponent(SCRIPT)}`,
])('%s shows what the address says as text, and nobody keeps the page', async (path) => {
  const response = await admin.get(path);
  expect(await response.text()).not.toContain('<script>attacked');
  expect(response.headers.get('cache-control')).toBe('no-store');
  expect(response.headers.get('content-security-policy') ?? "script-src 'self'").toContain("script-src 'self'");
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
});
