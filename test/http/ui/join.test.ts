/** The page of an invitation ends signed in: it sends the key just made to the page that signs in. */
import { expect, test } from 'vitest';
import { Browser } from '../../world/browser.ts';
import { api, invitationOf } from '../../world/people.ts';
import { newWorld } from '../../world/world.ts';

test('the form of the page signs in with the key just made, which stands in no address', async () => {
  const world = await newWorld();
  const page = await (await world.fetch('GET', '/join', { authorization: null })).text();
  const [, form = ''] = /<form id="sign-in" method="post" action="\/sign-in">(.*?)<\/form>/s.exec(page) ?? [];
  expect([...form.matchAll(/name="(\w+)" type="\w+" autocomplete="([\w-]+)"/g)].map(([, ...found]) => found)).toEqual([
    ['name', 'username'],
    ['password', 'current-password'],
  ]);
  const token = await invitationOf(world, 'alice');
  const { body } = await api<{ key: { secret: string } }>(world, 'POST', '/invitations/accept', { as: null, body: { token } });
  const browser = new Browser(world);
  const signedIn = await browser.post('/sign-in', { name: 'alice', password: body.key.secret });
  expect([signedIn.status, signedIn.headers.get('location')]).toEqual([303, '/']);
  expect(await browser.page('/account')).toContain('<h1>alice</h1>');
});
