/**
 * Credentials that a caller has shown. Their signature or secret is verified, and the database is not asked yet: `authority.ts`
 * decides whether they are still valid, and for what.
 */

/** The credential that a token of this registry was made with. */
export interface CredentialOrigin {
  /** The account's epoch. Logging out everywhere begins a new one. */
  epoch: number;
  /** The fingerprint of the bootstrap administrator's password. */
  password?: string;
  /** The id of an access key. */
  key?: string;
  /**
   * The end of the login password that it was made with, in seconds since the epoch. Rotating a refresh token does not extend
   * it.
   */
  until?: number;
  job?: CiJob;
}

/** A CI job, identified by a token of an outside issuer. Each request looks up which trust rules apply to it. */
export interface CiJob {
  /** The claims of its token, as text. */
  claims: Record<string, string>;
  /** Claims that are too long to keep. A rule with a condition on one of them does not apply. */
  omitted: string[];
  audiences: string[];
  /**
   * The time of its login, in seconds since the epoch, and the newest event then. A rule that was saved later does not apply.
   */
  at: number;
  since: number;
}

/** The first use of an outside token: one row for each token. */
export interface OutsideLogin {
  id: string;
  /** Seconds since the epoch, like `until`. */
  at: number;
  since: number;
  until: number;
}

/** The owner of an upload. A job owns its uploads itself, because rules that are made meanwhile can change its subject. */
export function holderOf(subject: string, origin: CredentialOrigin | undefined): string {
  const job = origin?.job;
  return job ? `ci ${job.claims.iss} ${job.claims.sub}` : subject;
}

export type Credential =
  /** The bootstrap administrator's password. */
  | { kind: 'password'; mark: string }
  /** The secret of an access key. `name`: the user name that came with it; `null`: none. */
  | { kind: 'key'; key: string; name: string | null }
  /** A JWT of another issuer, not verified yet: the database knows which issuers are trusted. */
  | { kind: 'outside'; token: string; issuer: string }
  /**
   * A token of this registry. `until`: its end, in seconds since the epoch. `login`: the login that a refresh token continues.
   * `access`: true for an access token, which lives for minutes.
   */
  | {
      kind: 'token';
      subject: string;
      credentialOrigin: CredentialOrigin;
      until: number;
      login?: { id: string; generation: number };
      access?: true;
    };
