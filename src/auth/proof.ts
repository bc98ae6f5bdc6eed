/**
 * What a caller has shown, once its signature or secret was checked and before the database was asked: whether it still
 * counts, and for what, is `authority.ts`'s to say.
 */

/** What a token of ours was made with. */
export interface Via {
  /** The account's epoch: logging out everywhere begins another. */
  epoch: number;
  /** The mark of the bootstrap administrator's password. */
  password?: string;
  /** The id of an access key. */
  key?: string;
  /** The end of the login password that it was made with, in seconds since the epoch: rotation does not outlive it. */
  until?: number;
  /** Trust rules (`trust_rules.subject`), and those of the outside token's claims that they look at. */
  rules?: string[];
  claims?: Record<string, string>;
}

export type Proof =
  /** The bootstrap administrator's password. */
  | { kind: 'password'; mark: string }
  /** An access key's secret. `name`: the user name it came with, `null` where there is none. */
  | { kind: 'key'; key: string; name: string | null }
  /** A JWT of another issuer, not verified yet: whom to believe is in the database. */
  | { kind: 'outside'; token: string; issuer: string }
  /** A token of ours. `until`: its end, seconds since the epoch. `login`: of a refresh token, the login it continues. */
  | { kind: 'token'; subject: string; via: Via; until: number; login?: { id: string; generation: number } };
