/** The arguments that carry the clock, the network and the registry's host name. */

/** The host for which a token is made or verified, and the time at which that happens. */
export interface TokenContext {
  /** The host and port under which clients reach the registry. It is the audience of the registry's tokens. */
  service: string;
  /** Milliseconds since the epoch. */
  now: number;
}

/** A token context with the network, which is needed to fetch the keys of outside issuers. */
export interface Runtime extends TokenContext {
  fetch: typeof fetch;
  /** True if issuers may use plain http. */
  insecureIssuers: boolean;
}
