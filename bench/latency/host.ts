/**
 * Runs one side of the comparison in a process of its own: `node bench/latency/host.ts SIDE ENTRY DATA_DIR`. Prints the address
 * of the Worker. SIGINT ends it. The environment variable `VARIABLES` contains the text bindings of the Worker as JSON.
 */
import type { D1Database } from '@cloudflare/workers-types';
import { type Deployment, readDeployment } from '../../src/local/deployment.ts';
import { emulate } from '../../src/local/emulator.ts';
import { migrate, readMigrations } from '../../src/local/schema.ts';
import { freePort } from '../../test/world/registry.ts';
import { PEER_COMPATIBILITY } from './peer.ts';

/** The tables of the Worker with the fewest calls (`workers/least.ts`). */
const LEAST = [
  'CREATE TABLE manifests (name TEXT PRIMARY KEY, media_type TEXT, digest TEXT, size INTEGER, content TEXT) STRICT',
  'CREATE TABLE tags (name TEXT PRIMARY KEY, digest TEXT) STRICT',
  'CREATE TABLE blobs (digest TEXT PRIMARY KEY, size INTEGER, leased_until INTEGER) STRICT',
];
/** The module that `bench/workers/delayed.ts` needs, and the flag that provides it. */
const COUNTER = { module: 'node:async_hooks', flag: 'nodejs_als' };

const [side, main, dataDir] = process.argv.slice(2);
if (main === undefined || dataDir === undefined) throw new Error('usage: node bench/latency/host.ts SIDE ENTRY DATA_DIR');

const port = await freePort();
const { compatibility, producers, consumers } = readDeployment();
const worker = await emulate({
  name: 'latency',
  main,
  dataDir,
  host: '127.0.0.1',
  port,
  compatibility: counting(side === 'peer' ? PEER_COMPATIBILITY : compatibility),
  builtins: [COUNTER.module],
  variables: JSON.parse(process.env.VARIABLES ?? '{}') as Record<string, string>,
  ...(side === 'berth' ? { producers, consumers } : {}),
  prepare,
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.removeAllListeners(signal).once(signal, () => void worker.dispose().then(() => process.exit(0)));
}
console.log(`http://127.0.0.1:${port}`);

function counting({ compatibilityDate, compatibilityFlags }: Deployment['compatibility']): Deployment['compatibility'] {
  const flags = compatibilityFlags.includes('nodejs_compat') ? [] : [COUNTER.flag];
  return { compatibilityDate, compatibilityFlags: [...compatibilityFlags, ...flags] };
}

async function prepare(database: D1Database): Promise<void> {
  if (side === 'berth') await migrate(database, await readMigrations());
  if (side === 'least') await database.batch(LEAST.map((statement) => database.prepare(statement)));
}
