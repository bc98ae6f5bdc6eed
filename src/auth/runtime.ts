/** The clock, the network and the host name, which the domain gets as arguments. */

/** The registry and the time for which a token is made or verified. */
export interface TokenContext {
  /** The audience of our tokens: the host under which clients reach the registry. */
  service: string;
  /** Milliseconds since the epoch. */
  now: number;
}

/** A token context with the network, from which the keys of outside issuers are fetched. */
export interface Runtime extends TokenContext {
  fetch: typeof fetch;
  /** Allows issuers with plain http. */
  insecureIssuers: boolean;
}
