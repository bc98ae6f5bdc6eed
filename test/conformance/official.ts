/**
 * Runs the official conformance suite of the OCI Distribution Specification against Berth, with everything in it
 * switched on: `node test/conformance/official.ts [--suite current|2023] [storage|stream ...]`, by default both ways of
 * verifying uploads. REGISTRY=HOST:PORT (with REGISTRY_USERNAME, REGISTRY_PASSWORD) tests that registry instead.
 */
import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type { Target, Verify } from '../world/registry.ts';
import { exitOnSignals, registryFromEnv, startRegistry } from '../world/registry.ts';
import type { Item, Outcome, Totals } from './junit.ts';
import type { Suite } from './suites.ts';
import { currentSuite, suiteOf2023 } from './suites.ts';

const MODES: readonly Verify[] = ['storage', 'stream'];

exitOnSignals();
process.exitCode = await main();

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ options: { suite: { type: 'string' } }, allowPositionals: true });
  const modes = positionals.length === 0 ? MODES : positionals.map(verifyMode);
  const suite = await chooseSuite(values.suite);
  const sum: Totals = { pass: 0, fail: 0, skip: 0 };
  const given = registryFromEnv();
  if (given !== null) await runVersions(suite, given, given.host, sum);
  else for (const verify of modes) await withRegistry(verify, (target) => runVersions(suite, target, verify, sum));
  console.log(`${sum.pass} passed, ${sum.fail} failed, ${sum.skip} skipped`);
  return sum.fail === 0 && sum.pass > 0 ? 0 : 1;
}

function verifyMode(text: string): Verify {
  const mode = MODES.find((known) => known === text);
  if (mode === undefined) throw new Error(`${text}: not one of ${MODES.join(', ')}`);
  return mode;
}

async function chooseSuite(wanted = 'current'): Promise<Suite> {
  if (wanted === '2023') return suiteOf2023();
  if (wanted !== 'current') throw new Error(`--suite ${wanted}: not one of current, 2023`);
  const suite = await currentSuite();
  if (suite !== null) return suite;
  console.log('the current suite could not be installed from the Go module proxy: ran the one of 2023-11');
  return suiteOf2023();
}

async function withRegistry(verify: Verify, use: (target: Target) => Promise<void>): Promise<void> {
  const registry = await startRegistry({ verify });
  try {
    await use(registry);
  } finally {
    await registry.stop();
  }
}

async function runVersions(suite: Suite, target: Target, verify: string, sum: Totals): Promise<void> {
  for (const version of suite.versions) {
    const { items, totals, folder } = await suite.run(version, target);
    const { pass, fail, skip } = totals;
    console.log(`conformance ${suite.name} ${version} VERIFY=${verify}: ${pass} pass, ${fail} fail, ${skip} skip`);
    for (const line of [...listed(items, 'fail'), ...listed(items, 'skip')]) console.log(line);
    if (fail > 0) console.log(`  reports: ${folder}`);
    else await rm(folder, { recursive: true, force: true });
    sum.pass += pass;
    sum.fail += fail;
    sum.skip += skip;
  }
}

/** One line for each item with this outcome. Items with the same name and reason share a line. */
function listed(items: readonly Item[], outcome: Outcome): string[] {
  const times = new Map<string, number>();
  for (const item of items.filter((candidate) => candidate.outcome === outcome)) {
    const line = `  ${outcome} ${item.name}${item.reason === '' ? '' : `: ${item.reason}`}`;
    times.set(line, (times.get(line) ?? 0) + 1);
  }
  return [...times].map(([line, n]) => (n === 1 ? line : `${line} (${n} times)`));
}
