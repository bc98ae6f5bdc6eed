/**
 * Why the registry refuses a request: the closed list, with what is said where a refusal has no message of its own. A reason
 * says what is wrong, not how a protocol says so: each door renders all of them in one table (`http/refusals.ts`).
 */
export const REASONS = {
  // The request itself
  'request-invalid': 'the request is not valid',
  'parameter-invalid': 'a parameter is not valid',
  'body-incomplete': 'the body of the request broke off before its end, or is not encoded as HTTP says: send it again',
  'body-too-large': 'the body is too large',
  'address-unknown': 'there is nothing at this address',
  'method-not-allowed': 'the operation is unsupported',
  'too-many-tags': 'the request names too many tags',
  'too-much-work': 'the request takes more work than one request may',
  'webhook-loop': 'a webhook may not be sent to a registry',
  'repository-name-invalid': 'invalid repository name',
  'tag-invalid': 'invalid tag',
  'digest-invalid': 'the digest is malformed, unsupported, or given more than once',

  // Who asks
  unauthenticated: 'authentication required',
  forbidden: 'requested access to the resource is denied',
  'not-found': 'there is nothing here that you may see',

  // Content
  'repository-unknown': 'repository name not known to this registry',
  'manifest-unknown': 'manifest unknown to this repository',
  'blob-unknown': 'blob unknown to this repository',
  'upload-unknown': 'blob upload unknown to this repository',
  'manifest-invalid': 'manifest invalid',
  'references-unknown': 'the manifest references content unknown to this repository',
  'digest-mismatch': 'the content does not have this digest',
  'length-mismatch': 'the length announced is not the length of the content',
  'blob-too-large': 'the blob is too large for this registry',
  'chunk-out-of-order': 'the chunk does not continue this upload',
  'range-not-satisfiable': 'the range lies outside the content',
  'content-referenced': 'this content is part of a manifest that is still there: delete that first',
  'deletion-disabled': 'this registry deletes nothing',
  'tag-immutable': 'the tag is immutable',
  'quota-exceeded': 'there is no room for this content',
  'condition-failed': 'the condition of this request does not hold',
  'content-gone': 'content that it needs is gone for good',

  // What is there already, or not any more
  'version-mismatch': 'it has changed since, or is not what was expected',
  'name-taken': 'this name is taken',
  'limit-reached': 'there are as many as there may be',
  'last-owner': 'the last owner cannot go: make somebody else one first',
  'last-administrator': 'the last administrator cannot go: make somebody else one first',
  disabled: 'it is disabled',
  'not-empty': 'it is not empty',
  conflict: 'the request conflicts with what is there',
  overtaken: 'others keep changing this at the same time: nothing was changed, try again',

  // Too much, or not now
  'rate-limited': 'too many requests',
  'daily-limit': "the day's limit is used up",
  'memory-full': 'this registry has no memory for more uploads at the moment',
  'database-busy': 'the database has too much to do: try again',
  'connection-lost': 'the connection to the database was lost: try again. Repeating the request does no harm',
  'issuer-unreachable': 'the keys of the issuer cannot be had: try again',
  'not-set-up': 'this registry is not set up',
  'storage-unavailable': 'storage is unavailable, try again',
} as const satisfies Record<string, string>;

export type Reason = keyof typeof REASONS;

/**
 * Reasons for which the database itself can end a batch. The table `refusals` has a CHECK constraint for each of them: a new
 * one needs a migration.
 */
export const PRECONDITIONS = [
  ...['not-found', 'repository-unknown', 'manifest-unknown', 'blob-unknown', 'upload-unknown', 'references-unknown'],
  ...['manifest-invalid', 'content-referenced', 'content-gone', 'tag-immutable', 'quota-exceeded', 'condition-failed'],
  ...['forbidden', 'version-mismatch', 'name-taken', 'limit-reached', 'last-owner', 'last-administrator', 'disabled'],
  ...['not-empty', 'conflict', 'overtaken'],
] as const satisfies readonly Reason[];
export type Precondition = (typeof PRECONDITIONS)[number];
