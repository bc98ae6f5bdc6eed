/**
 * The Worker on the embedded runtime: bundled, given its bindings and its schema, and served on a socket of its own, past
 * the emulator's entry Worker with its request log and its development pages.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { Log, LogLevel, Miniflare } from 'miniflare';
import type { Options } from './options.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COMPATIBILITY_DATE = '2026-11-01';
/** The schedule of wrangler.toml, which the emulator does not run by itself. */
const SCHEDULE_MS = 10 * 60 * 1000;

export interface Runtime {
  stop(): Promise<void>;
}

type Socket = { host: string; port: number };

/** Resolves when it answers, with its tables in place: only then is the socket opened. */
export async function startRuntime(options: Options): Promise<Runtime> {
  const contents = await bundle();
  const worker = new Miniflare(emulation(options, contents, []));
  await applySchema(worker);
  await worker.setOptions(emulation(options, contents, [{ host: options.host, port: options.port }]));
  const stopSchedule = runSchedule(worker);
  return {
    stop: async () => {
      stopSchedule();
      await worker.dispose();
    },
  };
}

function emulation(options: Options, contents: string, sockets: Socket[]): ConstructorParameters<typeof Miniflare>[0] {
  const manifest = { mainModule: 'index.js', modulesRoot: ROOT, modules: { 'index.js': { type: 'esm' as const, contents } } };
  return {
    host: '127.0.0.1',
    port: 0,
    log: new Log(LogLevel.ERROR),
    logRequests: false,
    resourcePersistencePath: join(options.dataDir, 'storage'),
    workers: [
      {
        config: { name: 'berth', compatibilityDate: COMPATIBILITY_DATE, manifest, env: bindings(options), exports: {} },
        dev: { unsafeDirectSockets: sockets, stripCfConnectingIp: true },
      },
    ],
  };
}

function bindings({ secret, adminPassword, verify }: Options) {
  const text = { REGISTRY_SECRET: secret, VERIFY: verify, ...(adminPassword ? { ADMIN_PASSWORD: adminPassword } : {}) };
  const variables = Object.entries(text).map(([name, value]) => [name, { type: 'text', value }] as const);
  return {
    DB: { type: 'd1', id: 'berth' } as const,
    BLOBS: { type: 'r2', name: 'berth' } as const,
    ...Object.fromEntries(variables),
  };
}

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, 'src/index.ts')],
    bundle: true,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
}

async function applySchema(worker: Miniflare): Promise<void> {
  const database = await worker.getD1Database('DB');
  const text = await readFile(join(ROOT, 'schema.sql'), 'utf8');
  const statements = text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '');
  await database.batch(statements.map((statement) => database.prepare(statement)));
}

function runSchedule(worker: Miniflare): () => void {
  const run = async () => {
    const { scheduled } = await worker.getWorker();
    await scheduled({ scheduledTime: new Date() });
  };
  const timer = setInterval(() => void run().catch((error: unknown) => console.error('schedule:', error)), SCHEDULE_MS);
  return () => clearInterval(timer);
}
