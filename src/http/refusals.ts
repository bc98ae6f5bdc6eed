/**
 * The HTTP status and the error code for each reason of a refusal. A reason without a row is a compile error. Under /v2, an
 * answer with a 4xx status must have a code of distribution-spec, "Error Codes". The management API has additional codes for
 * reasons that fit none of these.
 */
import type { Reason } from '../vocabulary/reasons.ts';

/** The codes of distribution-spec, "Error Codes". */
type SpecifiedCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNSUPPORTED';

/** Codes that the specification does not have. `UNAVAILABLE` is for 5xx answers. The others are only for the management API. */
type OwnCode = 'CONFLICT' | 'INVALID' | 'NOT_FOUND' | 'PRECONDITION_FAILED' | 'UNAVAILABLE';

type ErrorCode = SpecifiedCode | OwnCode;
type Row = readonly [status: number, code: ErrorCode];

const COMMON = {
  'body-incomplete': [400, 'SIZE_INVALID'],
  'body-too-large': [413, 'SIZE_INVALID'],
  'parameter-invalid': [400, 'UNSUPPORTED'],
  'address-unknown': [404, 'UNSUPPORTED'],
  'method-not-allowed': [405, 'UNSUPPORTED'],
  'too-many-tags': [414, 'UNSUPPORTED'],
  'too-much-work': [400, 'UNSUPPORTED'],
  'webhook-loop': [508, 'DENIED'],
  'repository-name-invalid': [400, 'NAME_INVALID'],
  'tag-invalid': [400, 'MANIFEST_INVALID'],
  'digest-invalid': [400, 'DIGEST_INVALID'],

  unauthenticated: [401, 'UNAUTHORIZED'],
  forbidden: [403, 'DENIED'],

  'repository-unknown': [404, 'NAME_UNKNOWN'],
  'manifest-unknown': [404, 'MANIFEST_UNKNOWN'],
  'blob-unknown': [404, 'BLOB_UNKNOWN'],
  'upload-unknown': [404, 'BLOB_UPLOAD_UNKNOWN'],
  'manifest-invalid': [400, 'MANIFEST_INVALID'],
  'references-unknown': [400, 'MANIFEST_BLOB_UNKNOWN'],
  'digest-mismatch': [400, 'DIGEST_INVALID'],
  'length-mismatch': [400, 'SIZE_INVALID'],
  'blob-too-large': [413, 'SIZE_INVALID'],
  'chunk-out-of-order': [416, 'BLOB_UPLOAD_INVALID'],
  'range-not-satisfiable': [416, 'SIZE_INVALID'],
  'content-referenced': [405, 'UNSUPPORTED'],
  'deletion-disabled': [405, 'UNSUPPORTED'],
  'tag-immutable': [403, 'DENIED'],
  'quota-exceeded': [403, 'DENIED'],
  'condition-failed': [412, 'DENIED'],

  'rate-limited': [429, 'TOOMANYREQUESTS'],
  'daily-limit': [429, 'TOOMANYREQUESTS'],
  'memory-full': [429, 'TOOMANYREQUESTS'],
  'database-busy': [503, 'UNAVAILABLE'],
  'connection-lost': [503, 'UNAVAILABLE'],
  'issuer-unreachable': [503, 'UNAVAILABLE'],
  'not-set-up': [503, 'UNAVAILABLE'],
  'storage-unavailable': [503, 'UNAVAILABLE'],
} as const satisfies Partial<Record<Reason, Row>>;

/**
 * The rows for /v2. Operations of the protocol never refuse for most of the reasons below `COMMON`, but these reasons have
 * codes of the specification nevertheless.
 */
export const V2: Record<Reason, Row> = {
  ...COMMON,
  'request-invalid': [400, 'UNSUPPORTED'],
  'not-found': [404, 'NAME_UNKNOWN'],
  'content-gone': [404, 'MANIFEST_UNKNOWN'],
  'version-mismatch': [412, 'DENIED'],
  'name-taken': [409, 'DENIED'],
  'limit-reached': [409, 'DENIED'],
  'last-owner': [409, 'DENIED'],
  'last-administrator': [409, 'DENIED'],
  disabled: [409, 'DENIED'],
  'not-empty': [409, 'DENIED'],
  conflict: [409, 'DENIED'],
  // Clients of the protocol repeat a request after a 429 with Retry-After, but give up after a 409.
  overtaken: [429, 'TOOMANYREQUESTS'],
};

export const API: Record<Reason, Row> = {
  ...COMMON,
  'request-invalid': [400, 'INVALID'],
  'not-found': [404, 'NOT_FOUND'],
  'content-gone': [409, 'CONFLICT'],
  'version-mismatch': [412, 'PRECONDITION_FAILED'],
  'name-taken': [409, 'CONFLICT'],
  'limit-reached': [409, 'CONFLICT'],
  'last-owner': [409, 'CONFLICT'],
  'last-administrator': [409, 'CONFLICT'],
  disabled: [409, 'CONFLICT'],
  'not-empty': [409, 'CONFLICT'],
  conflict: [409, 'CONFLICT'],
  overtaken: [409, 'CONFLICT'],
};
