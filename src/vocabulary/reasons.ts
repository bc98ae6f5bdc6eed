/**
 * The closed list of reasons for which the registry refuses a request. The text of a reason is the default message of a
 * refusal. Reasons are independent of the protocol: the tables in `http/refusals.ts` translate each reason to the status and
 * code of each protocol.
 */
export const REASONS = {
  // About the request itself
  'request-invalid': 'the request is not valid',
  'parameter-invalid': 'a parameter is not valid',
  'body-incomplete': 'the body of the request ended early, or is not encoded as HTTP requires: send the request again',
  'body-too-large': 'the body of the request is too large',
  'address-unknown': 'there is nothing at this address: /api describes all addresses',
  'method-not-allowed': 'this address does not support this method',
  'too-many-tags': 'the request names too many tags',
  'too-much-work': 'the request needs more work than one request may do',
  'webhook-loop': 'the URL of a webhook must not be a registry: nothing was changed',
  'repository-name-invalid': 'the repository name is not valid',
  'tag-invalid': 'the tag is not valid',
  'digest-invalid': 'the digest is malformed, of an unsupported algorithm, or given more than once',

  // About the caller
  unauthenticated: 'log in first: this needs an access key, as bearer token or as password',
  forbidden: 'this does not exist, or you do not have the right to do it',
  'not-found': 'this does not exist, or you may not see it',

  // About content
  'repository-unknown': 'there is no such repository',
  'manifest-unknown': 'this repository has no such image',
  'blob-unknown': 'this repository has no such blob',
  'upload-unknown': 'there is no such upload: it was finished, cancelled, or has expired. Begin it again',
  'manifest-invalid': 'the manifest is not valid: nothing was stored',
  'references-unknown':
    'the manifest references content that this repository does not have. Nothing was stored: push that first',
  'digest-mismatch': 'the content does not have this digest: nothing was stored',
  'length-mismatch': 'the announced length is not the length of the content',
  'blob-too-large': 'the blob is too large for this registry',
  'chunk-out-of-order': 'the chunk does not continue this upload',
  'range-not-satisfiable': 'the range lies outside the content',
  'content-referenced': 'a manifest still references this content. Nothing was deleted: delete the manifest first',
  'deletion-disabled': 'this registry allows no deletions: nothing was deleted',
  'tag-immutable': 'the tag is immutable: nothing was changed',
  'quota-exceeded': 'the quota is used up: nothing was stored',
  'condition-failed': 'the condition of this request does not hold: nothing was changed',
  'content-gone': 'content that this needs was deleted for good',

  // The request conflicts with the present state
  'version-mismatch': 'it has changed since you read it, or If-Match is not its ETag. Nothing was changed: read it again',
  'name-taken': 'this name is taken: choose another one',
  'limit-reached': 'the limit is reached: nothing was changed',
  'last-owner': 'an organization needs an owner. Nothing was changed: make somebody else an owner first',
  'last-administrator': 'a registry needs an administrator. Nothing was changed: make somebody else an administrator first',
  disabled: 'it is disabled: nothing was changed',
  'not-empty': 'it is not empty: nothing was deleted',
  conflict: 'the request conflicts with the present state: nothing was changed',
  overtaken: 'other requests kept changing this at the same time. Nothing was changed: try again',

  // Limits of rate or resources, and temporary faults
  'rate-limited': 'too many requests: wait, and try again',
  'daily-limit': "the day's limit is used up: it resets at 00:00 UTC",
  'memory-full': 'the registry has no memory for another upload at the moment: try again',
  'database-busy': 'the database is overloaded: try again',
  'connection-lost': 'the connection to the database was lost: try again. Repeating the request does no harm',
  'issuer-unreachable': 'the keys of the issuer cannot be fetched: try again',
  'not-set-up': 'this registry is not set up',
  'storage-unavailable': 'storage is unavailable: try again',
} as const satisfies Record<string, string>;

export type Reason = keyof typeof REASONS;

/**
 * The reasons with which a precondition in SQL can abort a batch. The table `refusals` has a CHECK constraint for each of them,
 * so adding a reason to this list needs a migration.
 */
export const PRECONDITIONS = [
  ...['not-found', 'repository-unknown', 'manifest-unknown', 'blob-unknown', 'upload-unknown', 'references-unknown'],
  ...['manifest-invalid', 'content-referenced', 'content-gone', 'tag-immutable', 'quota-exceeded', 'condition-failed'],
  ...['forbidden', 'version-mismatch', 'name-taken', 'limit-reached', 'last-owner', 'last-administrator', 'disabled'],
  ...['not-empty', 'conflict', 'overtaken'],
] as const satisfies readonly Reason[];
export type Precondition = (typeof PRECONDITIONS)[number];
