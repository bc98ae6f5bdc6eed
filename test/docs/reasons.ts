/** The cause and the remedy of each reason of a refusal, for docs/errors.md. A reason without them is a compile error. */
import type { Reason } from '../../src/vocabulary/reasons.ts';

type Help = readonly [cause: string, cure: string];

export const HELP: Record<Reason, Help> = {
  'request-invalid': [
    'a field of the body or a parameter has a wrong name or value; the message names it',
    'correct that field; `/api` describes all of them',
  ],
  'parameter-invalid': ['a parameter or header of `/v2` or `/token` has a wrong value', 'correct what the message names'],
  'body-incomplete': ['the connection broke, or a proxy cut the body', 'send it again; if that repeats, look at the proxy'],
  'body-too-large': ['a manifest or a JSON body over its limit', 'make it smaller: the message has the limit'],
  'address-unknown': [
    'a typing error in the path, or a client of another API',
    'compare the path with `/api`; below the name of a repository comes `/-/`',
  ],
  'method-not-allowed': ['the path is right and the method is not', 'use a method of the `Allow` header'],
  'too-many-tags': ['one manifest is pushed with more tags than one request may set', 'push it several times, with fewer tags'],
  'too-much-work': [
    'the policies that apply have many patterns, and the request names many tags',
    'name as many tags at a time as the message says',
  ],
  'webhook-loop': [
    'the URL of a webhook leads to this or another registry of this kind, so that events would cause events',
    'give the webhook the URL of a receiver',
  ],
  'repository-name-invalid': ['upper case, a space, or two slashes in the name', 'use lower case: `acme/api`'],
  'tag-invalid': ['a character that tags cannot have, such as `/` or `+`', 'use letters, digits, `_`, `.` and `-`'],
  'digest-invalid': ['the digest was shortened or mistyped', 'use the whole digest: `sha256:` and 64 hex digits'],

  unauthenticated: [
    'no credential, or one that is wrong, has expired or was revoked, or a token that does not cover the request',
    '`docker login` the registry; for the API, send an access key',
  ],
  forbidden: [
    'a right is missing, or the key is narrowed; the message says which',
    'ask those whom the message names; `explain` says what decides',
  ],
  'not-found': [
    'a typing error, a deletion, or something of others: all three look the same',
    'check the name; ask its owner for a right',
  ],

  'repository-unknown': [
    'nothing was pushed there yet, or it was deleted',
    'check the name; push, or restore it from the trash',
  ],
  'manifest-unknown': ['the tag or the image was never pushed, or was deleted', 'list the tags; restore it from the trash'],
  'blob-unknown': ['a layer that is not part of this repository', 'push the image again'],
  'upload-unknown': [
    'the upload was finished or cancelled, or received nothing for a day',
    'push again: what is complete is not sent twice',
  ],
  'manifest-invalid': ['a client wrote a manifest that the specification does not allow', 'update the client; report it there'],
  'references-unknown': ['the layers were not pushed before the manifest, or were deleted meanwhile', 'push the image again'],
  'digest-mismatch': ['the content changed on its way, or the client computed a wrong digest', 'push again'],
  'length-mismatch': ['a client or proxy announced a wrong length', 'push again; if that repeats, look at the proxy'],
  'blob-too-large': ['a layer over the limit of the registry', 'split the layer into several'],
  'chunk-out-of-order': ['a chunk was lost or sent twice', 'continue where the `Range` header says; docker pushes again'],
  'range-not-satisfiable': ['a download is continued beyond the end', 'begin it again'],
  'content-referenced': ['an image or index still needs it', 'delete that one first'],
  'deletion-disabled': ['the setting `DELETION` is `off`', 'whoever runs the registry can change the setting'],
  'tag-immutable': ['the repository has immutable tags', 'push another tag'],
  'quota-exceeded': ['the organization or user has used up its storage', 'do what the message says, or ask for more'],
  'condition-failed': ['somebody else changed the tag first', 'read the tag again, and decide'],
  'content-gone': ['what should be restored was purged meanwhile', 'push it again'],

  'version-mismatch': ['somebody else changed it since you read it', 'read it again, and repeat the change'],
  'name-taken': ['the name, or one that can be confused with it, exists', 'choose another name'],
  'limit-reached': ['there are as many of these as there may be', 'delete those that nobody needs'],
  'last-owner': ['nobody could administer the organization any more', 'make somebody else an owner first'],
  'last-administrator': ['nobody could administer the registry any more', 'make somebody else an administrator first'],
  disabled: ['the user, robot or webhook is disabled, or comments are switched off', 'enable it first'],
  'not-empty': [
    'the repository or organization still has content',
    'delete that first, or use `force=true` where the message says so',
  ],
  conflict: ['the request does not fit the present state; the message says why', 'do what the message says'],
  overtaken: ['several requests change one thing at a time', 'try again: each try can succeed'],

  'rate-limited': ['more requests in a minute than the account or address may make', 'wait as long as `Retry-After` says'],
  'daily-limit': ['the share of the day of this account, or the free plan of Cloudflare, is used up', 'wait until 00:00 UTC'],
  'memory-full': ['many uploads of unknown length at once', 'try again: docker does so by itself'],
  'database-busy': ['many requests at once', 'try again: docker does so by itself'],
  'connection-lost': ['the connection between the registry and its database broke', 'try again'],
  'issuer-unreachable': [
    'the OIDC issuer of a CI token does not answer',
    'try again; look at the status page of the CI platform',
  ],
  'not-set-up': [
    'a secret or setting is missing or wrong, or the database is that of another version',
    'whoever runs the registry finds the cause in the message and in the log',
  ],
  'storage-unavailable': ['the storage or the database failed', 'try again; if that repeats, look at the log of the registry'],
};
