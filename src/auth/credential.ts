/**
 * The credentials that callers present. Their signature or secret is verified, except for outside tokens. The database was not
 * queried yet: `authority.ts` decides whether a credential is still valid, and what it allows.
 */

/** The credential with which a token of this registry was made. */
export interface CredentialOrigin {
  /**
   * The account's epoch when the token was made. Logging out everywhere begins a new epoch, which
   * invalidates all earlier tokens.
   */
  epoch: number;
  /** The fingerprint of the bootstrap administrator's password, if that was the credential. */
  password?: string;
  /** The id of the access key, if that was the credential. */
  key?: string;
  /**
   * The end of the login password, if that was the credential, in seconds since the epoch. The rotation of a refresh token does
   * not extend it.
   */
  until?: number;
  job?: CiJob;
}

/** A CI job, which a token of an outside issuer identifies. Each request determines which trust rules apply to the job. */
export interface CiJob {
  /** The claims of the job's token, as text. */
  claims: Record<string, string>;
  /** The names of the claims that are too long to keep. A rule with a condition on one of them does not apply. */
  omitted: string[];
  audiences: string[];
  /** The time of the login, in seconds since the epoch. */
  at: number;
  /** The id of the newest event at the login. A rule that was saved later does not apply to this credential. */
  since: number;
}

/** The first use of an outside token. One row is stored for each token. */
export interface OutsideLogin {
  /** A hash of the token. */
  id: string;
  /** The time of the first use, in seconds since the epoch. `until` is the end of the login, in the same unit. */
  at: number;
  /** The id of the newest event at the time of the first use. */
  since: number;
  until: number;
}

/**
 * Returns the owner of an upload. A job owns its uploads itself, because a rule that is saved during the upload can change the
 * job's subject.
 */
export function holderOf(subject: string, origin: CredentialOrigin | undefined): string {
  const job = origin?.job;
  return job ? `ci ${job.claims.iss} ${job.claims.sub}` : subject;
}

export type Credential =
  /** The bootstrap administrator's password. `mark` is its fingerprint. */
  | { kind: 'password'; mark: string }
  /** The secret of an access key. `name` is the user name that came with it, or `null` if none came. */
  | { kind: 'key'; key: string; name: string | null }
  /** A JWT of another issuer. It is not verified yet, because only the database knows which issuers are trusted. */
  | { kind: 'outside'; token: string; issuer: string }
  /**
   * A token of this registry. `until` is its end, in seconds since the epoch. `login` is the login that a refresh token belongs
   * to. `access` is true for an access token, which lives for minutes. `session` is set for the session of a browser.
   */
  | {
      kind: 'token';
      subject: string;
      credentialOrigin: CredentialOrigin;
      until: number;
      login?: { id: string; generation: number };
      access?: true;
      session?: SessionTimes;
    };

/** The times of a browser's session, in seconds since the epoch. */
export interface SessionTimes {
  /** The time of the sign-in. */
  since: number;
  /** The time at which the person has to sign in again, however often the session was used. */
  end: number;
}
