/**
 * A refusal is an error with a reason. The function that refuses a request throws it, and the HTTP layer renders the answer.
 */
import { REASONS, type Reason } from './reasons.ts';

/** The message and details of a refusal. All are optional. */
export interface Particulars {
  /** The message for users: what is wrong, what stays unchanged, and what to do. */
  message?: string;
  /** Details for programs. They are rendered as JSON. */
  detail?: unknown;
  /** The number of seconds after which the client may try again. */
  retryAfter?: number;
  /** The size of the content in bytes, for `range-not-satisfiable`. */
  size?: number;
  /** The challenge to the client, for `unauthenticated`. It becomes the header `WWW-Authenticate`. */
  challenge?: Challenge;
  cause?: unknown;
}

/** The `WWW-Authenticate` challenge for a caller without a sufficient credential (RFC 6750, section 3). */
interface Challenge {
  /** The token scope that the request needs, for example `repository:acme/api:pull`. */
  scope?: string;
  /** Why the sent credential is refused. Absent if no credential was sent. */
  error?: 'invalid_token' | 'insufficient_scope';
}

export class Refusal extends Error {
  readonly reason: Reason;
  readonly detail: unknown;
  readonly retryAfter: number | null;
  readonly size: number | null;
  readonly challenge: Challenge;

  constructor(reason: Reason, particulars: Particulars = {}) {
    super(particulars.message ?? REASONS[reason], { cause: particulars.cause });
    this.name = 'Refusal';
    this.reason = reason;
    this.detail = particulars.detail;
    this.retryAfter = particulars.retryAfter ?? null;
    this.size = particulars.size ?? null;
    this.challenge = particulars.challenge ?? {};
  }
}

/** Returns true if `error` is a refusal with one of these reasons, or with any reason if none is given. */
export function isRefusal(error: unknown, ...reasons: Reason[]): error is Refusal {
  return error instanceof Refusal && (reasons.length === 0 || reasons.includes(error.reason));
}

/**
 * An error in one field of an input. `at` is the path of the field, for example `rules.0`. An empty `at` means the whole input.
 */
export interface FieldError {
  at: string;
  message: string;
}

/** Returns a refusal of an input. Its message contains the first error, and its detail all errors. */
export function invalidInput(...errors: [FieldError, ...FieldError[]]): Refusal {
  return new Refusal('request-invalid', { message: textOf(errors[0]), detail: errors });
}

/** @throws request-invalid with the errors, if there are any */
export function requireNoErrors([first, ...others]: FieldError[]): void {
  if (first) throw invalidInput(first, ...others);
}

/**
 * Runs an operation. If it refuses fields of its input, prefixes the paths of the fields with `place`: `rules.0` becomes
 * `body.rules.0`.
 */
export async function withFieldsIn<T>(place: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error, 'request-invalid') || !Array.isArray(error.detail)) throw error;
    const errors = (error.detail as FieldError[]).map(({ at, message }) => ({ at: at ? `${place}.${at}` : place, message }));
    throw invalidInput(...(errors as [FieldError]));
  }
}

function textOf({ at, message }: FieldError): string {
  return at ? `${at}: ${message}` : message;
}
