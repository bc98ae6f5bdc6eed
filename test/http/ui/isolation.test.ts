/** Pages that are rendered at the same time for two people. Nothing of one person may reach the page of the other. */
import { beforeAll, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { api, inviteUser } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

const NAMES = ['alice', 'bob'];
const RENDERS = 50;

let world: World;
let browsers: [string, Browser][];

beforeAll(async () => {
  world = await newWorld();
  browsers = await Promise.all(
    NAMES.map(async (name): Promise<[string, Browser]> => {
      const person = await inviteUser(world, name);
      await api(world, 'PUT', `/repositories/${name}/private`, { as: person.basic, body: { description: `only for ${name}` } });
      return [name, await browserOf(world, name, person.secret)];
    }),
  );
});

test('a hundred renders at the same time show each person their own pages only', async () => {
  const renders = Array.from({ length: RENDERS }, (_, n) => browsers.map(([name, browser]) => ({ name, browser, n }))).flat();
  const pages = await Promise.all(
    renders.map(async ({ name, browser, n }) => {
      const path = n % 2 === 0 ? '/repositories' : `/repositories/${name}/private`;
      return { name, text: await browser.page(path) };
    }),
  );
  for (const { name, text } of pages) {
    const other = NAMES.find((one) => one !== name);
    expect(text).toContain(`only for ${name}`);
    expect(text).not.toContain(`only for ${other}`);
    expect(text).toContain(`<span>${name}</span>`);
  }
});
