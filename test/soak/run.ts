/**
 * `npm run soak`: 100,000 operations of 8 clients against the collector. OPERATIONS, CLIENTS, SEED, SECONDS (at most) and
 * LEASE_SECONDS are settings. The last line is its summary; it ends with 1 where something was lost or is left over.
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
