/**
 * Runs the bare Worker in a process of its own, in the same emulator in which `npm start` runs the registry.
 * `node bench/bare-host.ts DATA_DIR` prints the address of the Worker. SIGINT ends it.
 */
import { emulate } from '../src/local/emulator.ts';
import { freePort } from '../test/world/registry.ts';

/** The schema of the bare Worker: only the rows that a registry must read, each found by its own key. */
const SCHEMA = [
  `CREATE TABLE manifests (name TEXT PRIMARY KEY, media_type TEXT, digest TEXT, size INTEGER, content TEXT)
   STRICT, WITHOUT ROWID`,
  'CREATE TABLE tags (name TEXT PRIMARY KEY, digest TEXT) STRICT, WITHOUT ROWID',
  'CREATE TABLE blobs (digest TEXT PRIMARY KEY, size INTEGER, leased_until INTEGER) STRICT, WITHOUT ROWID',
];

const [dataDir] = process.argv.slice(2);
if (dataDir === undefined) throw new Error('usage: node bench/bare-host.ts DATA_DIR');

const port = await freePort();
const worker = await emulate({
  name: 'bare',
  main: 'bench/workers/bare.ts',
  dataDir,
  host: '127.0.0.1',
  port,
  variables: {},
  prepare: (database) => database.batch(SCHEMA.map((statement) => database.prepare(statement))),
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.removeAllListeners(signal).once(signal, () => void worker.dispose().then(() => process.exit(0)));
}
console.log(`http://127.0.0.1:${port}/`);
