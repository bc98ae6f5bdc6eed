/** The registry on the emulator: its settings, its schema, and the schedule, which the emulator does not run by itself. */
import type { Miniflare } from 'miniflare';
import { emulate } from './emulator.ts';
import type { Options } from './options.ts';
import { readSchema } from './schema.ts';

/** As often as the schedule of wrangler.toml. */
const SCHEDULE_MS = 10 * 60 * 1000;
/** As in wrangler.toml. */
const WRONG_PASSWORDS_A_MINUTE = 30;

export interface Runtime {
  stop(): Promise<void>;
}

export async function startRuntime(options: Options): Promise<Runtime> {
  const { host, port, dataDir, secret, adminPassword, variables } = options;
  const worker = await emulate({
    name: 'berth',
    main: 'src/index.ts',
    dataDir,
    host,
    port,
    variables: {
      ...variables,
      REGISTRY_SECRET: secret,
      ...(adminPassword ? { ADMIN_PASSWORD: adminPassword } : {}),
    },
    // The other limits of wrangler.toml protect what is shared; here everybody is one, and it is their own machine.
    limits: { WRONG_PASSWORDS: WRONG_PASSWORDS_A_MINUTE },
    schema: await readSchema(),
  });
  const stopSchedule = runSchedule(worker);
  return {
    stop: async () => {
      stopSchedule();
      await worker.dispose();
    },
  };
}

function runSchedule(worker: Miniflare): () => void {
  const run = async () => {
    const { scheduled } = await worker.getWorker();
    await scheduled({ scheduledTime: new Date() });
  };
  const timer = setInterval(() => void run().catch((error: unknown) => console.error('schedule:', error)), SCHEDULE_MS);
  return () => clearInterval(timer);
}
