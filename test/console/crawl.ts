/** Finds the pages of the console by following its links, and checks each in light and dark, wide and narrow. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { Step } from '../clients/people/steps.ts';
import { overflow, tooLarge, unreachable, violations } from './checks.ts';

export interface Visit {
  origin: string;
  name: string;
  password: string;
}

interface View {
  colorScheme: 'light' | 'dark';
  width: number;
}

const VIEWS: readonly View[] = [
  { colorScheme: 'light', width: 1280 },
  { colorScheme: 'dark', width: 1280 },
  { colorScheme: 'light', width: 360 },
  { colorScheme: 'dark', width: 320 },
];

/** Pages of one kind that are checked: those of a tag, for example. The kinds differ by what follows the name. */
const PAGES_OF_A_KIND = 10;
const PAGES_MAX = 150;

export async function signIn(context: BrowserContext, { origin, name, password }: Visit): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${origin}/sign-in`);
  await page.fill('#name', name);
  await page.fill('#password', password);
  await Promise.all([page.waitForURL((url) => url.pathname !== '/sign-in'), page.press('#password', 'Enter')]);
  return page;
}

/** The paths that can be reached by links from the first page, of each kind a few. */
export async function pathsOf(browser: Browser, visit: Visit): Promise<string[]> {
  const context = await browser.newContext({ javaScriptEnabled: false });
  await signIn(context, visit);
  const found = new Set(['/', '/repositories/acme/hostile', '/repositories/acme/empty', '/nowhere']);
  const kinds = new Map<string, number>();
  for (const path of found) {
    if (found.size > PAGES_MAX) break;
    const response = await context.request.get(`${visit.origin}${path}`, { headers: { accept: 'text/html' } });
    if (!response.headers()['content-type']?.startsWith('text/html')) continue;
    for (const [, href = ''] of (await response.text()).matchAll(/<a [^>]*?href="([^"#]+)"/g)) {
      const url = new URL(href.replaceAll('&amp;', '&'), `${visit.origin}${path}`);
      const next = `${url.pathname}${url.search}`;
      if (url.origin !== visit.origin || /^\/(api|v2|join|sign-in)\b/.test(next) || found.has(next)) continue;
      const kind = kindOf(url);
      const count = (kinds.get(kind) ?? 0) + 1;
      kinds.set(kind, count);
      if (count <= mostOf(kind)) found.add(next);
    }
  }
  await context.close();
  return [...found];
}

/** The number of pages of a kind that are checked. Those of a tag differ by what it names, and others hardly. */
function mostOf(kind: string): number {
  if (kind.includes('?') || kind.endsWith('/:digest') || kind.endsWith('/history')) return 2;
  return kind.endsWith('/tags/:tag') ? PAGES_OF_A_KIND : 3;
}

function kindOf({ pathname, searchParams }: URL): string {
  const path = pathname
    .replace(/\/repositories\/.+?(?=\/-\/|$)/, '/repositories/:name')
    .replace(/sha256:[0-9a-f]{64}/g, ':digest');
  const kind = path
    .replace(/\/tags\/[^/]+/, '/tags/:tag')
    .replace(/(\/(?:organizations|users|webhooks|deliveries|teams|robots|keys))\/[^/]+/g, '$1/:id');
  const names = [...searchParams.keys()].sort().join('&');
  return names === '' ? kind : `${kind}?${names}`;
}

/** Checks pages. Each page is a step, with all its views. */
export async function checkPages(browser: Browser, visit: Visit, paths: readonly string[], step: Step): Promise<void> {
  const contexts = await Promise.all(VIEWS.map((view) => open(browser, view, visit)));
  for (const path of paths) {
    await step(`page ${path}`, async () => {
      const complaints: string[] = [];
      for (const { view, page } of contexts) {
        const found = await checkPage(page, visit.origin, path, view);
        complaints.push(...found.map((one) => `${view.colorScheme} ${view.width}: ${one}`));
      }
      if (complaints.length > 0) throw new Error(complaints.join('; '));
    });
  }
  for (const { context } of contexts) await context.close();
}

async function open(browser: Browser, view: View, visit: Visit) {
  // axe is run in the page, which the policy of the page forbids. `checkPage` looks at the policy's reports before.
  const context = await browser.newContext({ colorScheme: view.colorScheme, viewport: { width: view.width, height: 900 } });
  return { view, context, page: await signIn(context, visit) };
}

async function checkPage(page: Page, origin: string, path: string, view: View): Promise<string[]> {
  const errors: string[] = [];
  const elsewhere: string[] = [];
  const onConsole = (message: { type(): string; text(): string }) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) errors.push(`console: ${message.text()}`);
  };
  const onError = (error: Error) => errors.push(`script: ${error.message}`);
  const onRequest = (request: { url(): string }) => {
    if (!request.url().startsWith(origin)) elsewhere.push(`asks another host: ${request.url()}`);
  };
  page.on('console', onConsole);
  page.on('pageerror', onError);
  page.on('request', onRequest);
  try {
    const response = await page.goto(`${origin}${path}`);
    const status = response?.status() ?? 0;
    const html = (await response?.text()) ?? '';
    const attacked = await page.evaluate(() => 'attacked' in window);
    const wrong = status >= 500 || (status >= 400 && path !== '/nowhere') ? [`status ${status}`] : [];
    const found = [...wrong, ...(attacked ? ['a text was run as a script'] : []), ...tooLarge(html), ...(await overflow(page))];
    // Reaching everything by keyboard does not depend on colours.
    if (view.colorScheme === 'light') found.push(...(await unreachable(page)));
    return [...found, ...(await violations(page)), ...errors, ...elsewhere];
  } finally {
    page.off('console', onConsole);
    page.off('pageerror', onError);
    page.off('request', onRequest);
  }
}
