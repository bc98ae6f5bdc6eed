/**
 * Wraps a Worker so that each call to D1 and R2 waits before it is sent, and is counted for the request that made it. The
 * Worker's own code is not changed. `/-/latency` sets the delays (PUT) and returns the counts (GET). Only calls of HTTP
 * requests are delayed and counted, not those of queues and schedules.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Counts, Kind, Visit } from '../latency/chain.ts';

/** The names of the bindings in the Worker's environment. The emulator calls them `DB` and `BLOBS`. */
interface Names {
  d1: string;
  r2: string;
}

type Handler = ExportedHandler<Record<string, unknown>>;

/** The methods that send a call. All other methods return an object that has such methods. */
const SENDS: Record<Kind, string[]> = {
  d1: ['run', 'all', 'first', 'raw', 'batch', 'exec'],
  r2: ['get', 'put', 'head', 'delete', 'list', 'createMultipartUpload', 'uploadPart', 'complete', 'abort'],
};
const GIVES = ['prepare', 'bind', 'withSession', 'resumeMultipartUpload'];

/**
 * The headers in which the load generator sends the number of a request and the name of the pull or push to which the request
 * belongs.
 */
const [NUMBER, NAME] = ['x-latency-number', 'x-latency-name'];

const INNER = Symbol('the wrapped object itself');

const delays: Record<Kind, number> = { d1: 0, r2: 0 };
/** The number of starts and ends of calls up to now. It orders them without a clock. */
let ticks = 0;
let visits: Visit[] = [];
/** The number of calls for which no answer waited, since the start of the Worker, by the name of the pull or push. */
const background: Record<string, Counts> = {};
const visiting = new AsyncLocalStorage<Visit>();
const wrapped = new WeakMap<object, Record<string, unknown>>();

export function delayed(worker: object, names: Names): Handler {
  const handler = worker as Handler;
  return {
    ...handler,
    async fetch(request, env, context) {
      const url = new URL(request.url);
      if (url.pathname === '/-/latency') return control(request, url);
      const [number, name] = [Number(request.headers.get(NUMBER) ?? -1), request.headers.get(NAME) ?? ''];
      const visit: Visit = { number, name, calls: [], answered: Number.POSITIVE_INFINITY };
      const response = await visiting.run(visit, async () => handler.fetch?.(request, environment(env, names), context));
      visit.answered = ++ticks;
      for (const call of visit.calls) if (call.end === null) backgroundOf(visit)[call.kind]++;
      if (visit.number >= 0) visits.push(visit);
      return response ?? new Response(null, { status: 500 });
    },
  };
}

function backgroundOf(visit: Visit | undefined): Counts {
  const name = visit?.name ?? '';
  background[name] ??= { d1: 0, r2: 0 };
  return background[name];
}

function control(request: Request, url: URL): Response {
  if (request.method === 'PUT') {
    delays.d1 = Number(url.searchParams.get('d1'));
    delays.r2 = Number(url.searchParams.get('r2'));
    return new Response(null, { status: 204 });
  }
  const answer = Response.json({ visits, background });
  visits = [];
  return answer;
}

/** Returns the same wrapper for the same environment, because the registry keeps its caches by environment. */
function environment(env: Record<string, unknown>, names: Names): Record<string, unknown> {
  const known = wrapped.get(env);
  if (known) return known;
  const { DB, BLOBS, ...others } = env as { DB: object; BLOBS: object };
  const made = { ...others, [names.d1]: wrap(DB, 'd1'), [names.r2]: wrap(BLOBS, 'r2') };
  wrapped.set(env, made);
  return made;
}

function wrap<T extends object>(target: T, kind: Kind): T {
  return new Proxy(target, {
    get(inner, name) {
      if (name === INNER) return inner;
      const value: unknown = Reflect.get(inner, name);
      if (typeof value !== 'function') return value;
      const apply = (args: unknown[]): unknown => value.apply(inner, args.map(unwrap));
      if (GIVES.includes(String(name))) return (...args: unknown[]) => wrap(apply(args) as object, kind);
      if (!SENDS[kind].includes(String(name))) return (...args: unknown[]) => apply(args);
      return async (...args: unknown[]) => {
        const result = await send(kind, async () => apply(args));
        return name === 'createMultipartUpload' ? wrap(result as object, kind) : result;
      };
    },
  });
}

/** Returns the arguments without wrappers, because `batch` gets wrapped statements. */
function unwrap(argument: unknown): unknown {
  if (Array.isArray(argument)) return argument.map(unwrap);
  return (argument as { [INNER]?: unknown } | null | undefined)?.[INNER] ?? argument;
}

async function send(kind: Kind, effect: () => Promise<unknown>): Promise<unknown> {
  const visit = visiting.getStore();
  const call: Visit['calls'][number] = { kind, start: ++ticks, end: null };
  if (visit?.answered === Number.POSITIVE_INFINITY) visit.calls.push(call);
  else backgroundOf(visit)[kind]++;
  await scheduler.wait(delays[kind]);
  try {
    return await effect();
  } finally {
    call.end = ++ticks;
  }
}
