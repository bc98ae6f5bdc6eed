/** The error that carries the reason of a refusal from the function that refuses to the HTTP layer that renders the answer. */
import { REASONS, type Reason } from './reasons.ts';

/** The optional content of a refusal. */
export interface Particulars {
  /** The message for people: what is wrong, what stays unchanged, and what to do. */
  message?: string;
  /** Details for programs. They are rendered as JSON. */
  detail?: unknown;
  /** The number of seconds after which another attempt may succeed. */
  retryAfter?: number;
  /** The size of the content in bytes, for `range-not-satisfiable`. */
  size?: number;
  /** The challenge to the client, for `unauthenticated`. */
  challenge?: Challenge;
  cause?: unknown;
}

/** The `WWW-Authenticate` challenge for a caller without a sufficient credential (RFC 6750, section 3). */
interface Challenge {
  /** The scope that the request needs, in the syntax of the token protocol. */
  scope?: string;
  /** Why the sent credential is refused; absent if none was sent. */
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

/** True if `error` is a refusal for one of these reasons, or for any reason if none is given. */
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

/** Checks that the list of errors is empty. @throws request-invalid with the errors */
export function requireNoErrors([first, ...others]: FieldError[]): void {
  if (first) throw invalidInput(first, ...others);
}

/**
 * Runs an operation. If it refuses fields of its input, `place` is put before their paths: `rules.0` becomes `body.rules.0`.
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
