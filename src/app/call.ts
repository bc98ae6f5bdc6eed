/** The types of the context that every operation gets. `http/context.ts` creates a context for each request. */
import type { Authority } from '../auth/authority.ts';
import type { Env } from '../env.ts';
import type { Background } from '../events/batch.ts';

/** The network access of the Worker. It is exported here because the entry points may not import `outbound/`. */
export { INTERNET } from '../outbound/request.ts';
export type { Authority, Background };

export interface Call {
  env: Env;
  /** The caller and all rights on which the request depends, as read from D1 for this request. */
  authority: Authority;
  /** The client's address, or a hash of it, to store in the audit log with a change. `null` to store none. */
  address: string | null;
  /** The scheme and host of the registry as clients see them, for example `https://registry.example.com`. */
  origin: string;
  /** The host and port of `origin`. Tokens contain it as the service for which they are valid. */
  service: string;
  /** The time of the request, in milliseconds since the epoch. */
  now: number;
  /** Runs work that may continue after the response is sent. */
  work: Background;
}

/** The context of a request before its caller is known. */
export interface Arrival extends Omit<Call, 'authority' | 'address'> {
  /** Returns the client's IPv4 address or IPv6 network, or `null` if it is not known. */
  network: () => string | null;
  /** Returns the client's address, or `null` if it is not known. Conditions of statements name it. */
  clientAddress: () => string | null;
  /**
   * `docker` is a client of the distribution protocol, which logs in once. `api` is a client that sends a key with each
   * request. Messages depend on it.
   */
  client: 'docker' | 'api';
  /** Sends requests to the issuers of tokens of other systems, for example of CI services. */
  fetch: typeof fetch;
  /** The id of the request in the log and in the header `X-Request-Id`. */
  requestId: string;
}

/** Waits for work that must not stop halfway. `waitUntil` makes the runtime finish the work even if the client disconnects. */
export async function finishing<T>({ work }: Pick<Call, 'work'>, running: Promise<T>): Promise<T> {
  work.waitUntil(running.catch(() => {}));
  return await running;
}
