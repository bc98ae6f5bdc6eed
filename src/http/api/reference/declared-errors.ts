/**
 * The documented errors of each operation. Most of them follow from the requirement and the input of its route. An operation
 * adds others with `refusals`. A test compares the documented errors with the real answers of the operations.
 */
import type { Reason } from '../../../vocabulary/reasons.ts';
import type { Requirement } from '../../../vocabulary/requirements.ts';
import { API } from '../../refusals.ts';
import type { Described } from './described.ts';

export interface DeclaredError {
  status: number;
  code: string;
  /** The condition under which the operation answers with this error. */
  when: string;
}

type Cases = Partial<Record<Reason, string>>;

/** The errors that every operation declares. */
const ALWAYS: Cases = {
  'rate-limited': 'There were too many requests, or the limit of the day is used up. `Retry-After` says when to try again',
  'storage-unavailable': 'The database or the storage does not answer. `Retry-After` says when to try again',
};

const UNAUTHENTICATED: Cases = { unauthenticated: 'No credentials were sent, or they are wrong or have expired' };
const UNKNOWN: Cases = { 'not-found': 'What the path names does not exist, or you may not know of it' };
const NARROWED = 'or the credential is not a personal access key, or is narrowed';

/**
 * Returns the errors of an operation that requires an action on the repository in the path. A caller who may not pull gets
 * `not-found`, as for a repository that does not exist.
 */
const actionCases = (action: string): Cases => ({
  ...UNAUTHENTICATED,
  forbidden: `You may pull the repository, but not ${action}`,
});

const BY_REQUIREMENT: Record<Requirement, Cases> = {
  anyone: { unauthenticated: 'The credentials that were sent are wrong or have expired' },
  login: UNAUTHENTICATED,
  account: { ...UNAUTHENTICATED, forbidden: 'The credential is not a personal access key, or is narrowed' },
  administrator: { ...UNAUTHENTICATED, forbidden: `You are not an administrator, ${NARROWED}` },
  owner: { ...UNAUTHENTICATED, forbidden: `You are not an owner of the organization, ${NARROWED}` },
  'owner or self': {
    ...UNAUTHENTICATED,
    forbidden: `You are neither an owner of the organization nor the user in the path, ${NARROWED}`,
  },
  member: { ...UNAUTHENTICATED, forbidden: 'The key is narrowed' },
  webhook: {
    ...UNAUTHENTICATED,
    forbidden: 'You may not administer what the webhook listens to',
  },
  trash: UNAUTHENTICATED,
  catalog: UNAUTHENTICATED,
  pull: UNAUTHENTICATED,
  push: actionCases('push to it'),
  delete: actionCases('delete in it'),
  admin: actionCases('administer it'),
  create: actionCases('create or administer it'),
};

const INVALID: Cases = {
  'request-invalid': 'A name, parameter or field is unknown, missing or not valid. The message names it',
};
const BODY: Cases = {
  'body-incomplete': 'The body ended early, or is not encoded as HTTP requires',
  'body-too-large': 'The body is longer than 512 KiB',
};
const CONDITION: Cases = { 'version-mismatch': '`If-Match` or `If-None-Match` does not hold: somebody else was faster' };
const REPOSITORY: Cases = {
  'repository-name-invalid': 'The name is not a valid name of a repository',
  'repository-unknown': 'The repository does not exist',
};

/** Returns the documented errors of an operation. @param path the pattern of the route */
export function errorsOf(path: string, requirement: Requirement, operation: Described): DeclaredError[] {
  const readsInput = operation.body !== undefined || operation.query !== undefined || operation.repeatable;
  const cases: Cases = {
    ...(readsInput || path.includes(':') ? INVALID : {}),
    ...(path.includes(':name') ? REPOSITORY : {}),
    ...BY_REQUIREMENT[requirement],
    ...(path.includes(':') ? UNKNOWN : {}),
    ...(operation.conditional ? CONDITION : {}),
    ...(operation.body === undefined ? {} : BODY),
    ...operation.refusals,
    ...ALWAYS,
  };
  const declared = (Object.entries(cases) as [Reason, string][]).map(([reason, when]) => {
    const [status, code] = API[reason];
    return { status, code, when };
  });
  return declared.sort((one, other) => one.status - other.status);
}
