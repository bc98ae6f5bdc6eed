/**
 * What a caller has shown, once its signature or secret was checked and before the database was asked: whether it still
 * counts, and for what, is `authority.ts`'s to say.
 */

/** What a token of ours was made with. */
export interface CredentialOrigin {
  /** The account's epoch: logging out everywhere begins another. */
  epoch: number;
  /** The mark of the bootstrap administrator's password. */
  password?: string;
  /** The id of an access key. */
  key?: string;
  /** The end of the login password that it was made with, in seconds since the epoch: rotation does not outlive it. */
  until?: number;
  job?: Job;
}

/** A job of an outside issuer. Which trust rules count for it is asked at each use. */
export interface Job {
  /** What its token said, as text. */
  claims: Record<string, string>;
  /** Claims that are too long to be remembered: a rule that looks at one of them does not count. */
  omitted: string[];
  audiences: string[];
  /** When it logged in, seconds since the epoch, and the newest event then: a rule that was saved later does not count. */
  at: number;
  since: number;
}

/** Who an upload belongs to: of a job itself, as rules that are made meanwhile give it other names. */
export function holderOf(subject: string, via: CredentialOrigin | undefined): string {
  return via?.job ? `ci ${via.job.claims.iss} ${via.job.claims.sub}` : subject;
}

export type Credential =
  /** The bootstrap administrator's password. */
  | { kind: 'password'; mark: string }
  /** An access key's secret. `name`: the user name it came with, `null` where there is none. */
  | { kind: 'key'; key: string; name: string | null }
  /** A JWT of another issuer, not verified yet: whom to believe is in the database. */
  | { kind: 'outside'; token: string; issuer: string }
  /**
   * A token of ours. `until`: its end, seconds since the epoch. `login`: of a refresh token, the login it continues. `access`: it
   * is an access token, which lives for minutes.
   */
  | {
      kind: 'token';
      subject: string;
      via: CredentialOrigin;
      until: number;
      login?: { id: string; generation: number };
      access?: true;
    };
