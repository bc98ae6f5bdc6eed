/**
 * Runs the registry in a process of its own: `node bench/scale/host.ts DATA_DIR`. Prints the lines of the registry's log, as a
 * deployment writes them. The parent process sends times in milliseconds since the epoch, at which the schedule is run. SIGINT
 * ends it. The environment variable `VARIABLES` contains the text bindings of the Worker as JSON.
 */
import { readDeployment } from '../../src/local/deployment.ts';
import { emulate } from '../../src/local/emulator.ts';
import { migrate, readMigrations } from '../../src/local/schema.ts';
import { freePort } from '../../test/world/registry.ts';

const NAME = 'berth';

const [dataDir] = process.argv.slice(2);
if (dataDir === undefined) throw new Error('usage: node bench/scale/host.ts DATA_DIR');

const port = await freePort();
const worker = await emulate({
  ...readDeployment(),
  limits: {},
  name: NAME,
  dataDir,
  host: '127.0.0.1',
  port,
  variables: JSON.parse(process.env.VARIABLES ?? '{}') as Record<string, string>,
  prepare: async (database) => migrate(database, await readMigrations()),
});
process.on('message', (time: number) => void runSchedule(time));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.removeAllListeners(signal).once(signal, () => void worker.dispose().then(() => process.exit(0)));
}
process.send?.(`http://127.0.0.1:${port}`);

async function runSchedule(time: number): Promise<void> {
  const { scheduled } = await worker.getWorker(NAME);
  const { outcome } = await scheduled({ scheduledTime: new Date(time), cron: '' });
  process.send?.(outcome);
}
