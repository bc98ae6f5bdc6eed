/** Where and when a credential is shown, and what can be reached from there: what auth must not find out by itself. */

/** The audience of our tokens is the host that clients use; `now` is in milliseconds. */
export interface TokenContext {
  service: string;
  now: number;
}

/** The network too: keys of outside issuers are fetched, from plain http only where that is allowed. */
export interface Runtime extends TokenContext {
  fetch: typeof fetch;
  insecureIssuers: boolean;
}
