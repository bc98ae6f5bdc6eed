/** The context of an operation. Each door makes one for a request (`http/context.ts`). */
import type { Authority } from '../auth/authority.ts';
import type { Env } from '../env.ts';
import type { Background } from '../events/batch.ts';

/** The network, for the entry points. */
export { INTERNET } from '../outbound/request.ts';
export type { Authority, Background };

export interface Call {
  env: Env;
  /** The caller with all rights that matter to the request, as they are in the database now. */
  authority: Authority;
  /** The address (or a hash of it) that the audit log keeps with a change; `null`: none. */
  address: string | null;
  /** Scheme and host under which clients reach the registry. */
  origin: string;
  /** Host and port of `origin`: the service that tokens are for. */
  service: string;
  /** Milliseconds since the epoch. */
  now: number;
  /** Runs work that may outlive the answer. */
  work: Background;
}

/** A request before its caller is known. */
export interface Arrival extends Omit<Call, 'authority' | 'address'> {
  /** The client's network; `null`: not known. */
  network: string | null;
  /** Reaches the issuers of outside tokens. */
  fetch: typeof fetch;
  /** Names the request in the log. */
  requestId: string;
}

/** Awaits work that must not stop halfway: the runtime finishes it even if the client hangs up. */
export async function finishing<T>({ work }: Pick<Call, 'work'>, running: Promise<T>): Promise<T> {
  work.waitUntil(running.catch(() => {}));
  return await running;
}
