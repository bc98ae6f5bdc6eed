/**
 * A Worker on the embedded runtime, with D1 and R2 kept in a folder and a socket of its own, past the emulator's entry
 * Worker with its request log and its development pages.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { Log, LogLevel, Miniflare } from 'miniflare';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** As in wrangler.toml. */
const COMPATIBILITY_DATE = '2026-11-01';

export interface Emulation {
  name: string;
  /** The Worker's entry file, from the root of the project. */
  main: string;
  dataDir: string;
  host: string;
  port: number;
  /** Text bindings. */
  variables: Record<string, string>;
  /** Rate limiters: how often a minute. */
  limits?: Record<string, number>;
  /** Statements that make the database what the Worker expects. */
  schema: string[];
}

/** Resolves when the Worker answers, with its tables in place: only then is the socket opened. */
export async function emulate(emulation: Emulation): Promise<Miniflare> {
  const contents = await bundle(emulation.main);
  const worker = new Miniflare(optionsOf(emulation, contents, false));
  const database = await worker.getD1Database('DB');
  await database.batch(emulation.schema.map((statement) => database.prepare(statement)));
  await worker.setOptions(optionsOf(emulation, contents, true));
  return worker;
}

function optionsOf(emulation: Emulation, contents: string, listening: boolean): ConstructorParameters<typeof Miniflare>[0] {
  const { name, dataDir, host, port, variables, limits = {} } = emulation;
  const texts = Object.entries(variables).map(([key, value]) => [key, { type: 'text' as const, value }]);
  const limiters = Object.entries(limits).map(([key, limit]) => [
    key,
    { type: 'rate-limit' as const, namespace: key, simple: { limit, period: 60 as const } },
  ]);
  const env = {
    DB: { type: 'd1' as const, id: name },
    BLOBS: { type: 'r2' as const, name },
    ...Object.fromEntries([...texts, ...limiters]),
  };
  const manifest = { mainModule: 'index.js', modulesRoot: ROOT, modules: { 'index.js': { type: 'esm' as const, contents } } };
  return {
    host: '127.0.0.1',
    port: 0,
    log: new Log(LogLevel.ERROR),
    logRequests: false,
    resourcePersistencePath: join(dataDir, 'storage'),
    workers: [
      {
        config: { name, compatibilityDate: COMPATIBILITY_DATE, manifest, env, exports: {} },
        dev: { unsafeDirectSockets: listening ? [{ host, port }] : [], stripCfConnectingIp: true },
      },
    ],
  };
}

async function bundle(main: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, main)],
    bundle: true,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
}
