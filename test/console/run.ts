/**
 * `npm run console`: the web console in a real browser. Follows all links, checks each page in light and dark, wide and narrow,
 * and plays one person's walk with a real docker. `npm run screenshots` only writes pictures of all pages to a folder.
 */
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { newSteps } from '../clients/people/steps.ts';
import { exitOnSignals, startRegistry } from '../world/registry.ts';
import { startChromium } from './chromium.ts';
import { makeContent } from './content.ts';
import { checkPages, pathsOf, signIn, type Visit } from './crawl.ts';
import { checkManyTags, MANY_TAGS_PATHS, makeManyTags } from './many-tags.ts';
import { rebinding } from './rebinding.ts';
import { walk } from './walk.ts';

exitOnSignals();
const screenshots = process.argv.includes('--screenshots');
const started = Date.now();
const steps = newSteps();
const browser = await startChromium();
const registry = await startRegistry({ env: { INSECURE_WEBHOOKS: 'on' } });
try {
  const origin = `http://${registry.host}`;
  const visit = { origin, name: registry.username, password: registry.password };
  await makeContent(origin, registry.password);
  await makeManyTags(registry, origin);
  const paths = [...new Set([...(await pathsOf(browser, visit)), ...MANY_TAGS_PATHS])];
  if (screenshots) await takeScreenshots(browser, visit, paths);
  else {
    if (!process.argv.includes('--walk')) await checkPages(browser, visit, paths, steps.step);
    await checkManyTags(browser, visit, steps.step);
    await rebinding(registry, steps.step);
    await walk(browser, registry, steps.step);
  }
  if (steps.failed > 0) process.stderr.write(`the registry printed:\n${registry.output().slice(-4000)}\n`);
} finally {
  await browser.close();
  await registry.stop();
}
if (!screenshots) {
  console.log(`total time: ${Math.round((Date.now() - started) / 1000)} s`);
  console.log(`${steps.passed} passed, ${steps.failed} failed, 0 skipped`);
  process.exitCode = steps.failed === 0 && steps.passed > 0 ? 0 : 1;
}

async function takeScreenshots(shown: Browser, visit: Visit, paths: readonly string[]): Promise<void> {
  const folder = join(tmpdir(), 'berth-screenshots');
  await mkdir(folder, { recursive: true });
  for (const [colorScheme, width] of [
    ['light', 1280],
    ['dark', 1280],
    ['light', 360],
  ] as const) {
    const context = await shown.newContext({ colorScheme, viewport: { width, height: 900 } });
    const page = await signIn(context, visit);
    for (const [n, path] of paths.entries()) {
      await page.goto(`${visit.origin}${path}`);
      const name = path.replaceAll(/[^a-z0-9]+/gi, '-').slice(0, 60);
      await page.screenshot({ path: join(folder, `${String(n).padStart(3, '0')}${name}-${colorScheme}-${width}.png`) });
    }
    await context.close();
  }
  console.log(`pictures of ${paths.length} pages are in ${folder}`);
}
