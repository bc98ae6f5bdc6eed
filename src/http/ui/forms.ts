/** Forms of the console: checks which site sent a form, and reads it. */
import { createMiddleware } from 'hono/factory';
import { invalidInput, isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, originOf, type RequestContext } from '../context.ts';
import { limitWrites } from '../limits.ts';
import { readBody } from '../params.ts';

/** The maximum number of bytes of a form. The overview of a repository may have 100,000 characters. */
const FORM_MAX_BYTES = 512 * 1024;

/**
 * Refuses a request that changes something unless a page of this console sent it (protection against cross-site request
 * forgery). Browsers state the sender in `Sec-Fetch-Site`, old browsers in `Origin`. Only form content types are accepted,
 * because for other types a browser may send the request before it asks for permission.
 */
export const ownForms = createMiddleware<AppEnv>(async function ownForms(c, next) {
  if (c.req.method !== 'GET' && c.req.method !== 'HEAD') {
    if (!isFromHere(c)) throw new Refusal('forbidden', { message: 'the form was sent by another site: nothing was changed' });
    const type = c.req.header('content-type')?.split(';', 1)[0]?.trim().toLowerCase();
    if (type !== 'application/x-www-form-urlencoded') {
      throw new Refusal('request-invalid', {
        message: 'a form must be application/x-www-form-urlencoded: nothing was changed',
      });
    }
  }
  await next();
});

function isFromHere(c: RequestContext): boolean {
  const site = c.req.header('sec-fetch-site');
  const origin = c.req.header('origin');
  if (origin !== undefined && origin !== originOf(c)) return false;
  return site === undefined ? origin !== undefined : site === 'same-origin';
}

/** The fields of a form that was sent. */
export class Form {
  readonly #fields: URLSearchParams;

  constructor(fields: URLSearchParams) {
    this.#fields = fields;
  }

  /** Returns the value of a field without surrounding space. Returns the empty string if the field is missing. */
  text(name: string): string {
    return this.#fields.get(name)?.trim() ?? '';
  }

  /** Returns the value of a field, or `undefined` if it is missing or empty. */
  optional(name: string): string | undefined {
    return this.text(name) || undefined;
  }

  /**
   * Returns the value of a field as it was sent, but with `\
   * ` as line ends.
   */
  raw(name: string): string {
    return (this.#fields.get(name) ?? '').replaceAll('\r\n', '\n');
  }

  all(name: string): string[] {
    return this.#fields.getAll(name);
  }

  /** Returns true if a checkbox is checked. */
  has(name: string): boolean {
    return this.#fields.has(name);
  }
}

/** Requires that the user has typed the name into the field `ConfirmName`. @throws request-invalid */
export function requireConfirmed(form: Form, expected: string): void {
  if (form.text('confirm') !== expected) {
    throw invalidInput({ at: 'confirm', message: `type ${expected} to confirm: nothing was changed` });
  }
}

/**
 * Runs an operation on a thing that a field names. If the thing does not exist, or exists already, the error is shown at that
 * field and not as a page.
 * @param reason the reason with which the operation refuses then: `version-mismatch` for a new thing that exists already
 * @throws request-invalid
 */
export async function named<T>(
  at: string,
  message: string,
  work: () => Promise<T>,
  reason: 'not-found' | 'version-mismatch' = 'not-found',
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error, reason)) throw error;
    throw invalidInput({ at, message });
  }
}

/**
 * Returns the version in the hidden field `version`: the version that the page showed. Returns `null` if the field has no
 * number.
 */
export function versionIn(form: Form): number | null {
  return /^\d{1,15}$/.test(form.text('version')) ? Number(form.text('version')) : null;
}

/**
 * Reads the form in the body. A form of a signed-in user is charged like a change by the management API. @throws body-too-large
 */
export async function readForm(c: RequestContext): Promise<Form> {
  if (c.var.authority) await limitWrites(c);
  const bytes = await readBody(c, FORM_MAX_BYTES);
  return new Form(new URLSearchParams(new TextDecoder().decode(bytes)));
}
