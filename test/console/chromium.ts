/** Starts Debian's Chromium. Installs it if it is missing and this is a machine of CI. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** @param args more options of the browser. @throws Error if there is no Chromium and it cannot be installed */
export async function startChromium(args: readonly string[] = []): Promise<Browser> {
  let executablePath = PATHS.find((path) => existsSync(path));
  if (executablePath === undefined && process.env.CI === 'true') {
    const options = { stdio: 'inherit' as const, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
    spawnSync('apt-get', ['update', '-qq'], options);
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], options);
    executablePath = PATHS.find((path) => existsSync(path));
  }
  if (executablePath === undefined) throw new Error('there is no Chromium: apt-get install chromium');
  // The sandbox of Chromium does not start as root, which is what containers of CI run as.
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath, args: [...sandbox, ...args] });
}
