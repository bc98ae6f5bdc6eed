/** One person's walk through the console, with a real docker beside it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { apiOf } from '../clients/people/api.ts';
import { type Engine, startEngine } from '../clients/people/engine.ts';
import { digestIn, refused, type Step, same, worked } from '../clients/people/steps.ts';
import type { Registry } from '../world/registry.ts';
import { wordsOf } from './checks.ts';
import { signIn } from './crawl.ts';

interface Walk {
  page: Page;
  origin: string;
  engine: Engine;
  registry: Registry;
  step: Step;
}

export async function walk(browser: Browser, registry: Registry, step: Step): Promise<void> {
  const origin = `http://${registry.host}`;
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  let engine: Engine | undefined;
  await step('walk: a docker engine starts', async () => {
    engine = await startEngine(registry.host);
  });
  if (!engine) return;
  try {
    const page = await signIn(context, { origin, name: registry.username, password: registry.password });
    const stage = { page, origin, engine, registry, step };
    await firstPush(stage);
    await imagesAndTags(stage);
    await opinions(stage);
    await teamMayPull(stage);
    await webhook(stage, await startReceiver());
    await signOut(stage);
  } finally {
    await engine.stop();
    await context.close();
  }
}

async function firstPush({ page, origin, engine, registry, step }: Walk): Promise<void> {
  await step('walk: a repository is created by the form', async () => {
    await page.goto(`${origin}/repositories/-/new`);
    await page.fill('#namespace', 'admin');
    await page.fill('#name', 'shop');
    await page.click('main button[type=submit]');
    same('address', new URL(page.url()).pathname, '/repositories/admin/shop');
    await holds(page, `docker push ${registry.host}/admin/shop:latest`);
  });
  await step('walk: the page of the empty repository shows the tag after docker has pushed it', async () => {
    const desk = engine.desk('admin');
    worked(await desk.login(registry.username, registry.password));
    worked(await desk.push('one', 'admin/shop:v1'));
    await page.waitForSelector('a[href$="/-/tags/v1"]', { timeout: 15_000 });
    worked(await desk.push('two', 'admin/shop:v2'));
  });
  await step('walk: typing into the filter shows the tags that match', async () => {
    await page.goto(`${origin}/repositories/admin/shop`);
    await page.fill('input[name=filter]', 'v2');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    same('address', new URL(page.url()).search, '?filter=v2&sort=newest');
  });
}

async function imagesAndTags({ page, origin, engine, step }: Walk): Promise<void> {
  const desk = engine.desk('admin');
  await step('walk: two images are compared', async () => {
    await page.goto(`${origin}/repositories/admin/shop/-/compare?from=v1&to=v2`);
    await holds(page, 'v1', 'v2', 'Layers');
  });
  await step('walk: a tag that was moved is rolled back, and docker pulls the image of before', async () => {
    const before = digestIn(await desk.pull('admin/shop:v1'));
    worked(await desk.push('three', 'admin/shop:v1'));
    await page.goto(`${origin}/repositories/admin/shop/-/tags/v1/history`);
    await page.click('main button:has-text("Roll back")');
    await page.waitForLoadState();
    await engine.forgetImages();
    same('digest', digestIn(await desk.pull('admin/shop:v1')), before);
  });
}

async function opinions({ page, origin, step }: Walk): Promise<void> {
  const about = `${origin}/repositories/admin/shop/-/about`;
  await step('walk: a repository is starred', async () => {
    await page.goto(about);
    await page.click('main button:has-text("Star")');
    await page.waitForLoadState();
    await page.goto(`${origin}/repositories?search=shop`);
    await holds(page, '1');
  });
  await step('walk: a comment is written, and shown as text', async () => {
    await page.goto(about);
    await page.fill('textarea[name=text]', 'Works **well** <script>alert(1)</script>');
    await page.click('main button:has-text("Comment")');
    await page.waitForLoadState();
    await holds(page, 'Works well <script>alert(1)</script>');
  });
}

async function teamMayPull({ page, origin, engine, registry, step }: Walk): Promise<void> {
  const admin = apiOf(origin, registry.password);
  const bob = engine.desk('bob');
  let key = '';
  await step('walk: a team is made and gets somebody', async () => {
    const { invitation } = await admin.call<{ invitation: { token: string } }>('PUT', '/users/bob', {});
    const joined = await apiOf(origin).call<{ key: { secret: string } }>('POST', '/invitations/accept', {
      token: invitation.token,
    });
    key = joined.key.secret;
    await admin.call('PUT', '/organizations/store', {});
    await admin.call('PUT', '/organizations/store/members/bob', { role: 'member' });
    await page.goto(`${origin}/organizations/store/teams`);
    await page.click('main details.fold summary');
    await page.fill('input[name=name]', 'readers');
    await page.click('main button:has-text("Create team")');
    await page.waitForURL(/\/teams\/readers/);
    await page.fill('input[name=user]', 'bob');
    await page.click('main button:has-text("Add to the team")');
    await page.waitForLoadState();
    await holds(page, 'bob');
  });
  await step('walk: the team gets the right to pull only, after a look at who gains it', async () => {
    worked(await engine.desk('admin').push('one', 'store/api:v1'));
    await page.goto(`${origin}/repositories/store/api/-/permissions`);
    await page.fill('input[name=principal]', 'team:store/readers');
    await page.check('input[name=preset][value="pull only"]');
    await page.click('main button:has-text("Review")');
    await page.waitForLoadState();
    await holds(page, 'readers');
    await page.click('main form button.main');
    await page.waitForLoadState();
    await holds(page, 'readers');
  });
  await step('walk: docker pulls as a member of the team, and its push is refused', async () => {
    worked(await bob.login('bob', key));
    worked(await bob.pull('store/api:v1'));
    refused(await bob.push('two', 'store/api:v2'), 'denied');
  });
}

async function webhook({ page, origin, engine, step }: Walk, receiver: Receiver): Promise<void> {
  try {
    await step('walk: a webhook is made, and a push is delivered to it', async () => {
      await page.goto(`${origin}/repositories/admin/shop/-/webhooks/new`);
      await page.fill('input[name=url]', receiver.url);
      await page.click('main button.main');
      await page.waitForLoadState();
      worked(await engine.desk('admin').push('two', 'admin/shop:v3'));
      await until('a delivery arrives', () => receiver.received.some((type) => type.includes('tag.created')));
    });
    await step('walk: the delivery is shown with its attempt, and sent again', async () => {
      await page.goto(`${origin}/repositories/admin/shop/-/webhooks`);
      await page.click('main table a');
      await page.waitForLoadState();
      const before = receiver.received.length;
      await page.click('main a[href*="/deliveries/"]');
      await page.waitForLoadState();
      await holds(page, '202');
      await page.click('main form[action*="/replay"] button');
      await until('it arrives again', () => receiver.received.length > before);
    });
  } finally {
    receiver.server.close();
  }
}

interface Receiver {
  server: Server;
  url: string;
  /** The types of the events that arrived. */
  received: string[];
}

async function startReceiver(): Promise<Receiver> {
  const received: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (data) => {
      body += data;
    });
    request.on('end', () => {
      received.push(String(JSON.parse(body).type));
      response.writeHead(202).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

async function until(what: string, holdsNow: () => boolean): Promise<void> {
  for (let waited = 0; waited < 200; waited++) {
    if (holdsNow()) return;
    await sleep(100);
  }
  throw new Error(`${what}: not within 20 s`);
}

async function signOut({ page, origin, step }: Walk): Promise<void> {
  await step('walk: after signing out, the back button shows nothing of the pages', async () => {
    await page.goto(`${origin}/repositories/admin/shop`);
    await page.click('details.menu summary');
    await page.click('details.menu button:has-text("Sign out")');
    await page.waitForURL((url) => url.pathname === '/sign-in');
    await page.goBack();
    await page.waitForLoadState();
    same('shows the repository', (await wordsOf(page)).includes('v1'), false);
  });
}

/** Expects that the page shows these words. */
async function holds(page: Page, ...wanted: string[]): Promise<void> {
  const words = await wordsOf(page);
  for (const text of wanted)
    if (!words.includes(text)) throw new Error(`the page does not say "${text}": ${words.slice(0, 300)}`);
}
