/** The checks that every page of the console must pass, in whatever colours and width. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import type { Page } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The maximum number of bytes of the HTML of a page, compressed. */
const HTML_MAX_BYTES = 20_000;
/** The maximum number of times that Tab is pressed to reach everything. */
const TABS_MAX = 400;

/** Opens all folds, so that what is in them is checked too. */
async function unfold(page: Page): Promise<void> {
  await page.evaluate(() => {
    for (const fold of document.querySelectorAll('details')) fold.open = true;
  });
}

/** The menus of the head of the page, which open over its content. */
const MENUS = 'body > header details';

/** The violations of WCAG 2.2 AA that axe finds: on the page with closed menus, and in its head with open ones. */
export async function violations(page: Page): Promise<string[]> {
  await unfold(page);
  await page.evaluate(AXE);
  await page.evaluate((menus) => {
    for (const menu of document.querySelectorAll<HTMLDetailsElement>(menus)) menu.open = false;
  }, MENUS);
  const onPage = await violationsIn(page, 'document');
  await unfold(page);
  return [...onPage, ...(await violationsIn(page, "document.querySelector('body > header') ?? document"))];
}

async function violationsIn(page: Page, context: string): Promise<string[]> {
  const found = (await page.evaluate(`axe.run(${context}, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 120)).slice(0, 3).join(' | ')))`)) as string[];
  return found;
}

/** What is wider than the window, if the page scrolls sideways. */
export async function overflow(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const scrolls = (one: Element) => ['auto', 'scroll', 'hidden'].includes(getComputedStyle(one).overflowX);
    const isClipped = (one: Element | null): boolean => one !== null && (scrolls(one) || isClipped(one.parentElement));
    const wide = [...document.querySelectorAll('body *')].filter(
      (one) => one.getBoundingClientRect().right > width + 1 && !isClipped(one.parentElement),
    );
    return [
      `the page is ${document.documentElement.scrollWidth} wide: ${wide.slice(-1).map((one) => one.outerHTML.slice(0, 120))}`,
    ];
  });
}

/** What cannot be reached by Tab, and what shows no focus when it is reached. */
export async function unreachable(page: Page): Promise<string[]> {
  const wanted = await page.evaluate(() => {
    const found = [
      ...document.querySelectorAll<HTMLElement>('a[href], button, input, select, textarea, summary, pre[tabindex]'),
    ];
    const shown = found.filter(
      (one) => one.checkVisibility({ visibilityProperty: true }) && !(one as HTMLButtonElement).disabled,
    );
    const focusable = shown.filter((one) => (one as HTMLInputElement).type !== 'radio' || (one as HTMLInputElement).checked);
    for (const [n, one] of focusable.entries()) one.dataset.check = String(n);
    (document.activeElement as HTMLElement | null)?.blur();
    // A field for a date takes a press for each of its parts.
    const parts = focusable.filter((one) => (one as HTMLInputElement).type === 'date').length * 3;
    return focusable.length + parts;
  });
  const reached = new Set<string>();
  const hidden: string[] = [];
  for (let press = 0; press < Math.min(TABS_MAX, wanted + 5); press++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const one = document.activeElement as HTMLElement;
      const style = getComputedStyle(one);
      const shows =
        style.outlineStyle !== 'none' ||
        (one.closest('tr') && getComputedStyle(one.closest('tr') as Element).outlineStyle !== 'none');
      return { check: one.dataset.check, shows: Boolean(shows), html: one.outerHTML.slice(0, 100) };
    });
    if (at.check === undefined) continue;
    reached.add(at.check);
    if (!at.shows) hidden.push(`shows no focus: ${at.html}`);
  }
  if (wanted > TABS_MAX - 5) return hidden;
  const missed = await page.evaluate(
    (known) =>
      [...document.querySelectorAll<HTMLElement>('[data-check]')]
        .filter((one) => !known.includes(one.dataset.check ?? ''))
        .map((one) => one.outerHTML.slice(0, 100)),
    [...reached],
  );
  return [...hidden, ...missed.map((html) => `Tab does not reach it: ${html}`)];
}

/** True words about a page that is too large. */
export function tooLarge(html: string): string[] {
  const bytes = gzipSync(html).byteLength;
  return bytes > HTML_MAX_BYTES ? [`the HTML has ${bytes} bytes, compressed`] : [];
}

/** The words of a page. */
export async function wordsOf(page: Page): Promise<string> {
  return page.evaluate(() => (document.querySelector('main')?.textContent ?? '').replaceAll(/\s+/g, ' '));
}
