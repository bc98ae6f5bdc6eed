/** The rows that decide what a caller may do, as `directory.ts` loads them. */
import { applies, type Circumstances } from './conditions.ts';
import type { Statement } from './statement.ts';

/** A row of the statement that loads rights. */
export interface RightsRow {
  n: number;
  kind: 'subject' | 'team' | 'repository';
  subject: string | null;
  /** The number of bytes of the policy, or `null` if there is none. */
  bytes: number | null;
  data: string | null;
}

export interface LoadedRights {
  account: { subject: string; administrator: number; disabled: number; epoch: number } | null;
  key: {
    id: string;
    owner: string;
    statements: Statement[] | null;
    expires_at: number;
    ended: number;
    unused: number;
  } | null;
  members: { organization: string; role: 'owner' | 'member' }[];
  teams: string[];
  policies: { subject: string; statements: Statement[] }[];
  /**
   * The subjects whose policies were too long to read. `*` means that the subject has more organizations or teams than are
   * read. Such a policy might contain a denial, so callers must treat everything that it might deny as denied.
   */
  unread: string[];
  login: { id: string; generation: number; ended: number } | null;
}

export const NOTHING_LOADED: LoadedRights = {
  account: null,
  key: null,
  members: [],
  teams: [],
  policies: [],
  unread: [],
  login: null,
};

/**
 * Leaves out the statements whose conditions do not hold.
 * @param circumstances `null` for a question that belongs to no request of the account
 */
export function inCircumstances(loaded: LoadedRights, circumstances: Circumstances | null): LoadedRights {
  const isConditional = loaded.policies.some(({ statements }) => statements.some(({ conditions }) => conditions !== undefined));
  if (!isConditional) return loaded;
  const subject = loaded.account?.subject ?? '';
  const policies = loaded.policies.map((policy) => ({
    ...policy,
    statements: policy.statements.filter((one) => applies(one, circumstances, subject)),
  }));
  return { ...loaded, policies };
}
