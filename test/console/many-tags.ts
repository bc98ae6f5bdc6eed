/** A repository with 10,000 tags, which are written into the database of a registry that is stopped: nobody pushes so many. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Browser } from 'playwright-core';
import { apiOf } from '../clients/people/api.ts';
import { type Step, same } from '../clients/people/steps.ts';
import type { Registry } from '../world/registry.ts';
import { Pusher } from './content.ts';
import { signIn, type Visit } from './crawl.ts';

const REPOSITORY = 'acme/many';
const PAGE = `/repositories/${REPOSITORY}`;
const TAGS = 10_000;

/** The pages that are checked besides those that links lead to. */
export const MANY_TAGS_PATHS: readonly string[] = [
  PAGE,
  `${PAGE}?filter=build-0999`,
  `${PAGE}?sort=name`,
  `${PAGE}?sort=oldest&attached=true`,
  `${PAGE}?filter=no-such-tag`,
];

/** Makes the repository. Each second tag is that of a signature. */
export async function makeManyTags(registry: Registry, origin: string): Promise<void> {
  await apiOf(origin, registry.password).call('PUT', `/repositories/${REPOSITORY}`, { visibility: 'public' });
  await new Pusher(origin, 'admin', registry.password).image(REPOSITORY, 'first', { layers: 1 });
  await registry.restart(async () => {
    const database = new DatabaseSync(await databaseIn(registry.dataDir));
    database.exec(`
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${TAGS})
      INSERT INTO tags (repository_id, name, digest, updated_at)
      SELECT t.repository_id, iif(i % 2, printf('build-%05d', i), 'sha256-' || printf('%064x', i) || '.sig'), t.digest, t.updated_at - 60 * i
      FROM n, tags t JOIN repositories r ON r.id = t.repository_id WHERE r.name = '${REPOSITORY}' AND t.name = 'first';
      UPDATE repository_usage SET tags = tags + ${TAGS}
      WHERE repository_id = (SELECT id FROM repositories WHERE name = '${REPOSITORY}');`);
    database.close();
  });
}

/** The file of the database with the table of tags. */
async function databaseIn(dataDir: string): Promise<string> {
  for (const name of await readdir(dataDir, { recursive: true })) {
    if (!name.includes('/d1/') || !name.endsWith('.sqlite') || name.endsWith('metadata.sqlite')) continue;
    const database = new DatabaseSync(join(dataDir, name), { readOnly: true });
    const found = database.prepare(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'tags'`).get();
    database.close();
    if (found) return join(dataDir, name);
  }
  throw new Error(`no database in ${dataDir}`);
}

/** Sorts, filters and turns pages, as a person does. */
export async function checkManyTags(browser: Browser, visit: Visit, step: Step): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await signIn(context, visit);
  const names = () => page.locator('a[data-row]').allTextContents();
  await step('10,000 tags: the newest come first, without those of signatures', async () => {
    await page.goto(`${visit.origin}${PAGE}`);
    const shown = await names();
    same('tags', shown.slice(0, 3).join(' '), 'first build-00001 build-00003');
    same('number of tags', shown.length, 50);
  });
  await step('10,000 tags: sorted by name over all of them, and the next page goes on', async () => {
    await page.selectOption('select[name=sort]', 'oldest');
    await page.waitForURL(/sort=oldest/);
    await page.waitForFunction(() => document.querySelector('a[data-row]')?.textContent === 'build-09999');
    await page.getByRole('link', { name: 'Next page' }).click();
    await page.waitForURL(/last=/);
    same('first tag of the second page', (await names())[0] ?? '', 'build-09899');
  });
  await step('10,000 tags: a filter finds a new one while it is typed', async () => {
    await page.goto(`${visit.origin}${PAGE}`);
    await page.fill('input[name=filter]', 'build-00077');
    await page.waitForFunction(() => document.querySelectorAll('a[data-row]').length === 1);
    same('tags', (await names()).join(' '), 'build-00077');
  });
  await context.close();
}
