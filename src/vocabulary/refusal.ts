/** The error that carries a reason from the function that refuses to the door that says so. */
import { REASONS, type Reason } from './reasons.ts';

/** The content of a refusal besides its reason. */
export interface Particulars {
  /** For people: what is wrong, what stays unchanged, and what to do. */
  message?: string;
  /** For programs, as JSON. */
  detail?: unknown;
  /** Seconds after which trying again may help. */
  retryAfter?: number;
  /** Bytes of the content, for `range-not-satisfiable`. */
  size?: number;
  /** For `unauthenticated`. */
  challenge?: Challenge;
  cause?: unknown;
}

/** The challenge in the answer to a caller without the right credential (RFC 6750, section 3). */
interface Challenge {
  /** The scope that the request needs, as the token protocol writes it. */
  scope?: string;
  /** Why the credential that was sent is refused. Left out: none was sent. */
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

/** True if `error` refuses for one of these reasons; for any reason if none is named. */
export function isRefusal(error: unknown, ...reasons: Reason[]): error is Refusal {
  return error instanceof Refusal && (reasons.length === 0 || reasons.includes(error.reason));
}

/** An error in one field of an input. `at` names it, as `rules.0`; empty: the input as a whole. */
export interface FieldError {
  at: string;
  message: string;
}

/** Refuses an input: the message has the first error, the detail has all. */
export function invalidInput(...errors: [FieldError, ...FieldError[]]): Refusal {
  return new Refusal('request-invalid', { message: textOf(errors[0]), detail: errors });
}

/** @throws request-invalid if there are any errors */
export function requireNoErrors([first, ...others]: FieldError[]): void {
  if (first) throw invalidInput(first, ...others);
}

/** Runs an operation, and gives the fields that it refuses their place in the request: `rules.0` becomes `body.rules.0`. */
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
