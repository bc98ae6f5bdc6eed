/**
 * The one table of refusals: code -> HTTP status -> text, and the error that carries a code through the house.
 * Codes are those of distribution-spec "Error Codes"; the few of our own are marked. Pure.
 */

const TABLE = {
  BLOB_UNKNOWN: [404, 'blob unknown to this repository'],
  BLOB_UPLOAD_INVALID: [416, 'the chunk does not continue this upload'],
  BLOB_UPLOAD_UNKNOWN: [404, 'blob upload unknown to this repository'],
  DENIED: [403, 'requested access to the resource is denied'],
  DIGEST_INVALID: [400, 'the digest is malformed, unsupported, or not that of the content'],
  MANIFEST_BLOB_UNKNOWN: [400, 'the manifest references content unknown to this repository'],
  MANIFEST_INVALID: [400, 'manifest invalid'],
  MANIFEST_UNKNOWN: [404, 'manifest unknown to this repository'],
  NAME_INVALID: [400, 'invalid repository name'],
  NAME_UNKNOWN: [404, 'repository name not known to this registry'],
  SIZE_INVALID: [400, 'the length announced is not the length of the content'],
  TOOMANYREQUESTS: [429, 'too many requests'],
  UNAUTHORIZED: [401, 'authentication required'],
  UNSUPPORTED: [405, 'the operation is unsupported'],

  // Ours. The specification binds the codes of 4xx answers under /v2 only: the first four are of the management API.
  CONFLICT: [409, 'the request conflicts with what is there'],
  INVALID: [400, 'the request is not valid'],
  NOT_FOUND: [404, 'there is nothing here that you may see'],
  PRECONDITION_FAILED: [412, 'it has changed since, or is not what was expected'],
  UNAVAILABLE: [503, 'storage is unavailable, try again'],
} as const satisfies Record<string, readonly [status: number, message: string]>;

export type ErrorCode = keyof typeof TABLE;
export type ErrorStatus = (typeof TABLE)[ErrorCode][0] | 413 | 414 | 508;

export interface Refusal {
  message?: string;
  detail?: unknown;
  /** Replaces the table's status where one code serves two: a body too large is SIZE_INVALID with 413. */
  status?: ErrorStatus;
  headers?: Record<string, string>;
  cause?: unknown;
}

/** A refusal on its way to the client. Thrown anywhere; turned into a response in one place, `http/errors.ts`. */
export class RegistryError extends Error {
  readonly code: ErrorCode;
  readonly status: ErrorStatus;
  readonly detail: unknown;
  readonly headers: Record<string, string>;

  constructor(code: ErrorCode, refusal: Refusal = {}) {
    super(refusal.message ?? TABLE[code][1], { cause: refusal.cause });
    this.name = 'RegistryError';
    this.code = code;
    this.status = refusal.status ?? TABLE[code][0];
    this.detail = refusal.detail;
    this.headers = refusal.headers ?? {};
  }
}

/** A path under which nothing can be. */
export function nothingHere(): RegistryError {
  return new RegistryError('UNSUPPORTED', { status: 404, message: 'there is nothing at this address' });
}

/** A query parameter or header outside its grammar. */
export function badParameter(message: string): RegistryError {
  return new RegistryError('UNSUPPORTED', { status: 400, message });
}

/** The body of a request ended early, or its chunks cannot be read: the client's fault, or that of its connection. */
export function bodyBroke(cause: unknown): RegistryError {
  const message = 'the body of the request broke off before its end, or is not encoded as HTTP says: send it again';
  return new RegistryError('SIZE_INVALID', { message, cause });
}
