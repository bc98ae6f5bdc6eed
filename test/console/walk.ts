/** One person's walk through the console, with a real docker beside it. */
import type { Browser, Page } from 'playwright-core';
import { type Engine, startEngine } from '../clients/people/engine.ts';
import { type Step, same, worked } from '../clients/people/steps.ts';
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
