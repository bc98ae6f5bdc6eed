/** The arguments that functions of this folder get instead of using the clock, the network and the host name directly. */

/** The host for which a token is issued or verified, and the present time. */
export interface TokenContext {
  /** The host and port of the registry as clients see them. They are the audience of the registry's tokens. */
  service: string;
  /** In milliseconds since the epoch. */
  now: number;
}

/** A token context with network access, which is needed to fetch the keys of outside issuers. */
export interface Runtime extends TokenContext {
  fetch: typeof fetch;
  /** Returns the address of the client, for conditions of statements; `null` if it is not known. */
  clientAddress?: () => string | null;
  /** True if issuers may use plain http. */
  insecureIssuers: boolean;
}
