/**
 * DNS rebinding in a real browser: a host name that belongs to somebody else leads to this machine, so that a page under that
 * name is same-origin with the registry. It must get neither a form to sign in nor a session.
 */
import { type Step, same } from '../clients/people/steps.ts';
import type { Registry } from '../world/registry.ts';
import { startChromium } from './chromium.ts';

const HOST = 'rebound.example';

export async function rebinding(registry: Registry, step: Step): Promise<void> {
  const browser = await startChromium([`--host-resolver-rules=MAP ${HOST} 127.0.0.1`]);
  try {
    const page = await browser.newPage();
    const origin = `http://${HOST}:${new URL(registry.url).port}`;
    await step('walk: a host name of somebody else that leads to this machine gets no form to sign in', async () => {
      const response = await page.goto(`${origin}/sign-in`);
      same('status', response?.status(), 200);
      same('fields for a password', await page.locator('input[type=password]').count(), 0);
    });
    await step('walk: a page under that host name cannot sign in by script, and gets no cookie', async () => {
      const sent = { name: registry.username, password: registry.password };
      const status = await page.evaluate(async (fields) => {
        return (await fetch('/sign-in', { method: 'POST', body: new URLSearchParams(fields) })).status;
      }, sent);
      same('status', status, 403);
      same('cookies', (await page.context().cookies()).length, 0);
    });
  } finally {
    await browser.close();
  }
}
