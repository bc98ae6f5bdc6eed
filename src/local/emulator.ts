/**
 * Runs a Worker in the emulator (Miniflare), with D1 and R2 stored in a folder. The Worker listens on a socket of its own. So
 * requests do not pass through the emulator's entry Worker, which logs requests and has development pages.
 */
import { join, resolve } from 'node:path';
import { getCACertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type { D1Database } from '@cloudflare/workers-types';
import { build } from 'esbuild';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { NAT64, NOT_PUBLIC_IPV4, NOT_PUBLIC_IPV6 } from '../outbound/addresses.ts';
import { assetsWorker, readAssets } from './assets.ts';
import { type Consumer, type Deployment, type RateLimit, readDeployment } from './deployment.ts';
import { printLog } from './log.ts';
import { socketBinding } from './socket.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PUBLIC = join(ROOT, 'src/http/ui/public');

interface Emulation {
  name: string;
  /** The path of the Worker's entry file, relative to the root of the project. */
  main: string;
  dataDir: string;
  host: string;
  port: number;
  /** The compatibility date and flags of the runtime. If absent, those in wrangler.toml are used. */
  compatibility?: Deployment['compatibility'];
  /** Modules of the runtime that the Worker imports, in addition to `cloudflare:*`. */
  builtins?: string[];
  /** The values of the text bindings, by their names. */
  variables: Record<string, string>;
  limits?: Record<string, RateLimit>;
  /**
   * The names of queues, by the names of the bindings that send messages to them. Queues are in memory, and are lost when the
   * process ends.
   */
  producers?: Record<string, string>;
  consumers?: Consumer[];
  /** True if the Worker's `fetch` may access this machine and its private network. Only for development. */
  reachesPrivate?: boolean;
  /** Called after the runtime has ended unexpectedly and the emulator has started a new one. */
  restarted?: () => void;
  /** Migrates the database to the schema of the Worker. */
  prepare: (database: D1Database) => Promise<unknown>;
  /** True if the socket may be opened before `prepare` has succeeded. The runtime then starts only once, which is faster. */
  openAtOnce?: boolean;
}

/** Starts the Worker, and resolves when `prepare` has succeeded and the Worker serves requests. */
export async function emulate(emulation: Emulation): Promise<Miniflare> {
  const contents = await bundle(emulation.main, emulation.builtins);
  const { openAtOnce = false, compatibility = readDeployment().compatibility } = emulation;
  const optionsOf = (listening: boolean) => options({ ...emulation, compatibility }, contents, listening);
  const worker = new Miniflare(optionsOf(openAtOnce));
  try {
    await emulation.prepare(await worker.getD1Database('DB', emulation.name));
  } catch (error) {
    await worker.dispose();
    throw error;
  }
  if (!openAtOnce) await worker.setOptions(optionsOf(true));
  return worker;
}

/**
 * Options that close the emulator's own port. Every user of the machine can connect to that port, and it would serve the
 * objects of the bucket without authentication. `upstream` adds a prefix to the path of every request, so that no request
 * matches a path of the emulator. The emulator then forwards the request to the first Worker, which answers 404. The emulator's
 * own calls to the runtime use a secret and are not affected. `enableDevRegistry: true` would open a debug port without
 * authentication.
 */
const CLOSED = { upstream: 'http://closed.invalid/closed/', enableDevRegistry: false, unsafeLocalExplorer: false };

type Versioned = Emulation & Pick<Deployment, 'compatibility'>;

function options(emulation: Versioned, contents: string, listening: boolean): ConstructorParameters<typeof Miniflare>[0] {
  const { name, dataDir, host, port, compatibility, consumers = [], reachesPrivate = false } = emulation;
  const env = { ...bindingsOf(emulation), ...(listening ? { SOCKET: socketBinding({ host, port }) } : {}) };
  const triggers = consumers.map((queue) => ({ type: 'queue' as const, ...queue }));
  return {
    ...CLOSED,
    host: '127.0.0.1',
    port: 0,
    log: new Log(LogLevel.ERROR),
    logRequests: false,
    handleStructuredLogs: printLog,
    unsafeHandleRuntimeRestart: () => emulation.restarted?.(),
    resourcePersistencePath: join(dataDir, 'storage'),
    workers: [
      closed(compatibility),
      assets(compatibility),
      {
        config: { name, ...compatibility, manifest: manifestOf(contents), env, triggers, exports: {} },
        dev: {
          stripCfConnectingIp: true,
          ...(reachesPrivate ? {} : { outboundService: { type: 'worker' as const, worker: OUTSIDE } }),
        },
      },
      ...(reachesPrivate ? [] : [outside(compatibility)]),
    ],
  };
}

function closed(compatibility: Deployment['compatibility']) {
  const contents = 'export default { fetch: () => new Response(null, { status: 404 }) }';
  return { config: { name: 'closed', ...compatibility, manifest: manifestOf(contents), env: {}, exports: {} } };
}

function assets(compatibility: Deployment['compatibility']) {
  const contents = assetsWorker(readAssets(PUBLIC));
  return { config: { name: ASSETS, ...compatibility, manifest: manifestOf(contents), env: {}, exports: {} } };
}

function manifestOf(contents: string) {
  return { mainModule: 'index.js', modulesRoot: ROOT, modules: { 'index.js': { type: 'esm' as const, contents } } };
}

function bindingsOf({ name, variables, limits = {}, producers = {} }: Emulation) {
  const texts = Object.entries({ ...variables, ADDRESS_FROM: 'socket' }).map(([key, value]) => [
    key,
    { type: 'text' as const, value },
  ]);
  const limiters = Object.entries(limits).map(([key, simple]) => [
    key,
    { type: 'rate-limit' as const, namespace: key, simple },
  ]);
  const queues = Object.entries(producers).map(([key, queue]) => [key, { type: 'queue' as const, name: queue }]);
  return {
    DB: { type: 'd1' as const, id: name },
    BLOBS: { type: 'r2' as const, name },
    ASSETS: { type: 'worker' as const, worker: ASSETS },
    ...Object.fromEntries([...texts, ...limiters, ...queues]),
  };
}

const OUTSIDE = 'outside';
const ASSETS = 'assets';

/**
 * The addresses to which the runtime must not connect, even if workerd counts them as public. They come from the table with
 * which addresses of webhooks are checked. A NAT64 address is allowed if the IPv4 address in it is public, because a network
 * without IPv4 reaches all IPv4 hosts through NAT64.
 */
const DENIED = [
  ...NOT_PUBLIC_IPV4.map(([range]) => range),
  ...NOT_PUBLIC_IPV4.map(([range]) => throughNat64(range)),
  ...NOT_PUBLIC_IPV6.map(([range]) => range).filter((range) => range !== NAT64),
];

/** Converts an IPv4 range to the NAT64 range: `10.0.0.0/8` becomes `64:ff9b::10.0.0.0/104`. */
function throughNat64(range: string): string {
  const [address, bits] = range.split('/');
  return `${NAT64.replace('/96', '')}${address}/${96 + Number(bits)}`;
}

/**
 * Returns the Worker through which all outgoing requests of the registry pass. On Cloudflare a Worker cannot reach private
 * addresses, but in the emulator it could. The runtime checks the address when it connects, so a host name cannot resolve to
 * another address after the check.
 */
function outside(compatibility: Deployment['compatibility']) {
  const contents = 'export default { fetch: (request, env) => env.PUBLIC.fetch(request) }';
  // On Windows the runtime finds no certificates by itself. The emulator sets these options for its own connections, too.
  const trustedCertificates = getCACertificates(process.platform === 'win32' ? 'default' : 'extra');
  const tlsOptions = { trustBrowserCas: true, trustedCertificates };
  const network = { type: 'network' as const, allow: ['public', NAT64], deny: DENIED, tlsOptions };
  return { config: { name: OUTSIDE, ...compatibility, manifest: manifestOf(contents), env: { PUBLIC: network }, exports: {} } };
}

async function bundle(main: string, builtins: string[] = []): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [resolve(ROOT, main)],
    bundle: true,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*', ...builtins],
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
}
