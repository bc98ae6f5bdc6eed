/** Starts the programs to compare: Berth, the Worker with the fewest calls, and another registry. */
import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { launch } from '../hosts.ts';
import type { Counts, Visit } from './chain.ts';
import { peerEntry } from './peer.ts';

export type SideName = 'berth' | 'least' | 'peer';

export interface Side {
  name: SideName;
  url: string;
  /** NAME:PASSWORD of a user who may push and pull. */
  credentials: string;
  /** True if anonymous callers can pull. */
  isPublic: boolean;
  stop(): Promise<void>;
}

const HOST = fileURLToPath(new URL('host.ts', import.meta.url));
const REPOSITORIES = ['bench/app', 'bench/base'];

export async function startSides(peerSource: string | undefined): Promise<Side[]> {
  const peer = await peerEntry(peerSource);
  const password = randomBytes(18).toString('base64url');
  const secret = randomBytes(32).toString('base64url');
  const credentials = `admin:${password}`;
  const [berth, least, other] = await Promise.all([
    start('berth', 'bench/workers/delayed-berth.ts', {
      ...{ REGISTRY_SECRET: secret, ADMIN_PASSWORD: password, LOG: 'off' },
      ...{ BACKGROUND_ROWS_READ: '0', BACKGROUND_ROWS_WRITTEN: '0', BACKGROUND_QUEUE_OPERATIONS: '0' },
    }),
    start('least', 'bench/workers/delayed-least.ts', {}),
    peer === null ? null : start('peer', peer, { USERNAME: 'admin', PASSWORD: password, ENVIRONMENT: 'bench' }),
  ]);
  const key = await keyOf(berth.url, credentials);
  return [
    { name: 'berth', ...berth, credentials: key, isPublic: true },
    { name: 'least', ...least, credentials, isPublic: true },
    ...(other === null ? [] : [{ name: 'peer' as const, ...other, credentials, isPublic: false }]),
  ];
}

async function start(side: SideName, entry: string, variables: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), `latency-${side}-`));
  const { child, stop } = launch(process.execPath, [HOST, side, entry, folder], folder, {
    VARIABLES: JSON.stringify(variables),
  });
  for await (const line of createInterface({ input: child.stdout })) return { url: line, stop };
  await stop();
  throw new Error(`${side} did not start`);
}

/** Creates an access key (because users log in with keys) and two public repositories. @returns NAME:KEY */
async function keyOf(url: string, credentials: string): Promise<string> {
  const headers = {
    authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
    'content-type': 'application/json',
  };
  const call = async (method: string, path: string, body: object) => {
    const response = await fetch(`${url}/api/v1${path}`, { method, headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json() as Promise<{ secret: string }>;
  };
  await call('PUT', '/organizations/bench', {});
  for (const name of REPOSITORIES) await call('PUT', `/repositories/${name}`, { visibility: 'public' });
  const { secret } = await call('POST', '/keys', { name: 'bench' });
  return `admin:${secret}`;
}

export async function setDelays({ url }: Side, d1: number, r2: number): Promise<void> {
  await fetch(`${url}/-/latency?d1=${d1}&r2=${r2}`, { method: 'PUT' });
}

export interface Counted {
  visits: Visit[];
  /** The number of calls since the start for which no answer waited, by the name of the pull or push. */
  background: Record<string, Counts>;
}

/** Returns the requests since the last call of this function, and the calls in the background. */
export async function lookAt({ url }: Side): Promise<Counted> {
  return (await fetch(`${url}/-/latency`)).json() as Promise<Counted>;
}
