/** A push that starts a deployment: docker, the queues, a signed request, and the receiver in examples/. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../world/registry.ts';
import { person, type Stage } from './stage.ts';
import { digestIn, same } from './steps.ts';

const RECEIVER = fileURLToPath(new URL('../../../examples/deploy-receiver.mjs', import.meta.url));
const WITHIN_MS = 60_000;

interface Made {
  webhook: { id: string };
  secret: string;
}

interface History {
  items: { id: string; state: string }[];
}

interface Receiver {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Waits until the command has printed this many lines, one for each run. */
  deployed(lines: number): Promise<string[]>;
}

async function receiverOn(port: number, folder: string, secret: string): Promise<Receiver> {
  let child: ChildProcess | undefined;
  const log = join(folder, 'deployed');
  await writeFile(log, '');
  return {
    async start() {
      child = spawn(process.execPath, [RECEIVER, 'sh', '-c', 'echo $TAG $DIGEST $PREVIOUS_DIGEST >> deployed'], {
        cwd: folder,
        env: { ...process.env, WEBHOOK_SECRET: secret, RECEIVER_PORT: String(port) },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await new Promise<void>((resolve) => child?.stdout?.once('data', () => resolve()));
    },
    async stop() {
      if (!child || child.exitCode !== null) return;
      const ended = new Promise((resolve) => child?.once('exit', resolve));
      child.kill();
      await ended;
    },
    async deployed(lines) {
      const read = async () => (await readFile(log, 'utf8')).split('\n').filter(Boolean);
      for (const until = Date.now() + WITHIN_MS; Date.now() < until && (await read()).length < lines; ) await sleep(100);
      return read();
    },
  };
}

export async function deployment(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const folder = await mkdtemp(join(tmpdir(), 'berth-deployment-'));
  const port = await freePort();
  let receiver: Receiver | undefined;
  let webhook = '';
  let [first, second] = ['', ''];
  try {
    await step('alice makes a webhook for the pushes of a repository, and starts the receiver of the examples', async () => {
      const body = { url: `http://127.0.0.1:${port}/`, types: ['tag.created', 'tag.moved'], tags: ['live*'] };
      const made = await person(stage, 'alice').api.call<Made>('POST', '/repositories/acme/app/-/webhooks', body);
      webhook = made.webhook.id;
      receiver = await receiverOn(port, folder, made.secret);
      await receiver.start();
    });
    await step('a docker push starts the deployment of the digest that docker prints', async () => {
      const desk = engine.desk('alice');
      first = digestIn(await desk.push('one', 'acme/app:live'));
      deployedIs(await receiver?.deployed(1), [`live ${first}`]);
    });
    await step('a push of the same tag deploys the other digest, and tells which it replaced', async () => {
      second = digestIn(await engine.desk('alice').push('two', 'acme/app:live'));
      deployedIs(await receiver?.deployed(2), [`live ${first}`, `live ${second} ${first}`]);
    });
    await step('a push while the receiver is down is deployed once it is up again', async () => {
      await receiver?.stop();
      const digest = digestIn(await engine.desk('alice').push('one', 'acme/app:live-2'));
      await sleep(2000);
      await receiver?.start();
      deployedIs((await receiver?.deployed(3))?.slice(2), [`live-2 ${digest}`]);
    });
    await step('the history says what became of each, and a replay is not deployed again', async () => {
      const { items } = await person(stage, 'alice').api.call<History>('GET', `/webhooks/${webhook}/deliveries`);
      same('states', items.map(({ state }) => state).join(' '), 'delivered delivered delivered');
      await person(stage, 'alice').api.call('POST', `/webhooks/${webhook}/deliveries/${items[0]?.id}/replay`);
      await sleep(3000);
      same('times deployed', (await receiver?.deployed(3))?.length, 3);
    });
  } finally {
    await receiver?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function deployedIs(got: string[] | undefined, want: string[]): void {
  same('deployed', got?.join('; '), want.join('; '));
}
