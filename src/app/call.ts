/** The context of an operation. `http/context.ts` makes one for each request. */
import type { Authority } from '../auth/authority.ts';
import type { Env } from '../env.ts';
import type { Background } from '../events/batch.ts';

/** The network access of the Worker. It is exported again here, because the entry points may not import `outbound/`. */
export { INTERNET } from '../outbound/request.ts';
export type { Authority, Background };

export interface Call {
  env: Env;
  /** The caller with all rights that are needed to decide on the request, as read from the database for this request. */
  authority: Authority;
  /** The client's address, or a hash of it, that the audit log keeps with a change. `null` means that it keeps none. */
  address: string | null;
  /** The scheme and host under which clients reach the registry. */
  origin: string;
  /** The host and port of `origin`. Tokens name it as the service that they are valid for. */
  service: string;
  /** The time of the request, in milliseconds since the epoch. */
  now: number;
  /** Runs work that may continue after the response is sent. */
  work: Background;
}

/** The context of a request whose caller is not known yet. */
export interface Arrival extends Omit<Call, 'authority' | 'address'> {
  /** Returns the client's IPv4 address or IPv6 network, or `null` if it is not known. */
  network: () => string | null;
  /** `docker`: a client of the protocol, which logs in once. `api`: one that sends a key with each request. */
  client: 'docker' | 'api';
  /** Sends requests to the issuers of outside tokens. */
  fetch: typeof fetch;
  /** The id of the request in the log. */
  requestId: string;
}

/** Awaits work that must not stop halfway. `waitUntil` makes the runtime finish it even if the client disconnects. */
export async function finishing<T>({ work }: Pick<Call, 'work'>, running: Promise<T>): Promise<T> {
  work.waitUntil(running.catch(() => {}));
  return await running;
}
