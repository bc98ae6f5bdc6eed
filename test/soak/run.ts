/**
 * `npm run soak` runs 100,000 operations of 8 clients while the collector runs. Environment variables change the run:
 * OPERATIONS, CLIENTS, SEED, SECONDS (the maximum) and LEASE_SECONDS. The last line of the output is a summary. The exit code
 * is 1 if content was lost or is left over.
 */
import { exitOnSignals } from '../world/registry.ts';
import { soak } from './soak.ts';

exitOnSignals();

const setting = (name: string, fallback: number) => Number(process.env[name] || fallback);
const SHOWN = 20;

const seed = setting('SEED', 1);
const outcome = await soak({
  operations: setting('OPERATIONS', 100_000),
  clients: setting('CLIENTS', 8),
  seed,
  seconds: setting('SECONDS', 3 * 60 * 60),
  lease: setting('LEASE_SECONDS', 10),
  grace: [0, 1, 2].map((grace) => (grace + seed) % 3),
  ...(process.env.MAIN ? { main: process.env.MAIN } : {}),
  onProgress: (line) => console.error(line),
});
for (const [what, count] of [...outcome.answers].sort()) console.error(`${String(count).padStart(8)}  ${what}`);
for (const line of [...outcome.lost, ...outcome.wrong].slice(0, SHOWN)) console.error(`seed ${seed}, ${line}`);
console.log(outcome.summary);
process.exit(outcome.lost.length + outcome.wrong.length + Math.abs(outcome.leftOver) === 0 ? 0 : 1);
