/**
 * The credentials that callers send. Their signature or secret is verified already, except for outside tokens. D1 was not
 * queried yet: `authority.ts` decides whether a credential is still valid and what it allows.
 */

/** The credential for which a token of this registry was issued. */
export interface CredentialOrigin {
  /**
   * The account's epoch when the token was issued. "Log out everywhere" increases the epoch, which invalidates all earlier
   * tokens.
   */
  epoch: number;
  /** The fingerprint of the first administrator's password, if that was the credential. */
  password?: string;
  /** The id of the access key, if an access key was the credential. */
  key?: string;
  /**
   * The expiry of the login password, if that was the credential, in seconds since the epoch. Using a refresh token does not
   * extend it.
   */
  until?: number;
  job?: CiJob;
}

/** A CI job, identified by a token of its CI service. For each request it is decided which trust rules apply to the job. */
export interface CiJob {
  /** The claims of the job's token, as text. */
  claims: Record<string, string>;
  /** The names of the claims that are too long to store. A rule with a condition on one of them does not apply. */
  omitted: string[];
  audiences: string[];
  /** The time of the login, in seconds since the epoch. */
  at: number;
  /** The id of the newest event at the time of the login. A rule that was saved later does not apply to this login. */
  since: number;
}

/** The first use of an outside token, that is, a token of another issuer. One row is stored for each such token. */
export interface OutsideLogin {
  /** A hash of the token. */
  id: string;
  /** The time of the first use, and (`until`) the expiry of the login, both in seconds since the epoch. */
  at: number;
  /** The id of the newest event at the time of the first use. */
  since: number;
  until: number;
}

/**
 * Returns the owner of an upload. For a CI job this is the job itself, because a trust rule that is saved during the upload can
 * change the job's subject.
 */
export function holderOf(subject: string, origin: CredentialOrigin | undefined): string {
  const job = origin?.job;
  return job ? `ci ${job.claims.iss} ${job.claims.sub}` : subject;
}

export type Credential =
  /** The first administrator's password. `mark` is its fingerprint. */
  | { kind: 'password'; mark: string }
  /** The secret of an access key. `name` is the user name sent with it, or `null` if none was sent. */
  | { kind: 'key'; key: string; name: string | null }
  /** A JWT of another issuer. It is not verified yet, because D1 must be queried for the trusted issuers. */
  | { kind: 'outside'; token: string; issuer: string }
  /**
   * A token of this registry. `until` is its expiry, in seconds since the epoch. `login` is the login to which a refresh token
   * belongs. `access` is true for an access token, which is valid for minutes. `session` is set for the session of a browser.
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

/** The times of a browser session, in seconds since the epoch. */
export interface SessionTimes {
  /** The time of the sign-in. */
  since: number;
  /** The time when the user has to sign in again, however often the session was used. */
  end: number;
}
