/** Creates users through the management API, and sends requests as these users. */
import { expect } from 'vitest';
import { expectAsDescribed } from './contract.ts';
import type { World } from './world.ts';

export interface Person {
  name: string;
  /** The subject, for example `user:alice`. */
  subject: string;
  /** The secret of the user's first access key. */
  secret: string;
  /** The id of the user's first access key. */
  keyId: string;
  /** Authorization headers with the user's first key, for the schemes Basic and Bearer. */
  basic: string;
  bearer: string;
}

/** An answer of the management API. `T` is the type of the fields of the body that the test reads. */
export interface ApiAnswer<T = Record<string, unknown>> {
  status: number;
  /** The parsed JSON. `null` if there is no body, and a string if the body is no JSON. */
  body: T;
  headers: Headers;
}

export interface ApiRequest {
  /** The Authorization header, or `null` for none. If absent, that of the administrator. */
  as?: string | null;
  /** The body, sent as JSON. A string is sent unchanged. */
  body?: unknown;
  headers?: Record<string, string>;
}

/**
 * Sends a request to the management API, and checks the answer against its documentation. @param path the part after `/api/v1`
 */
export async function api<T = Record<string, unknown>>(
  world: World,
  method: string,
  path: string,
  request: ApiRequest = {},
): Promise<ApiAnswer<T>> {
  const { as, body, headers } = request;
  const response = await world.fetch(method, `/api/v1${path}`, {
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
    ...(as === undefined ? {} : { authorization: as }),
  });
  const answer = { status: response.status, body: decoded(await response.text()) as T, headers: response.headers };
  if (method !== 'HEAD') expectAsDescribed(method, path, answer);
  return answer;
}

function decoded(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Returns the status and the error code of a refusal. */
export function refused({ status, body }: ApiAnswer<unknown>): string {
  return `${status} ${(body as { errors?: { code: string }[] } | null)?.errors?.[0]?.code}`;
}

interface Invited {
  invitation: { token: string };
}

interface Joined {
  key: { id: string; secret: string };
}

/** Returns the token of a user's open invitation. Invites the user if there is no such user. */
export async function invitationOf(world: World, name: string, options: { administrator?: boolean } = {}): Promise<string> {
  const { status, body } = await api<Invited>(world, 'PUT', `/users/${name}`, { body: options });
  expect(status, JSON.stringify(body)).toBeLessThan(300);
  return body.invitation.token;
}

/** Invites a user and accepts the invitation. */
export async function inviteUser(world: World, name: string, options: { administrator?: boolean } = {}): Promise<Person> {
  const token = await invitationOf(world, name, options);
  const { status, body } = await api<Joined>(world, 'POST', '/invitations/accept', { as: null, body: { token } });
  expect(status, JSON.stringify(body)).toBe(200);
  return personOf(name, body.key);
}

export function personOf(name: string, { id, secret }: { id: string; secret: string }): Person {
  return { name, subject: `user:${name}`, secret, keyId: id, basic: basicOf(name, secret), bearer: `Bearer ${secret}` };
}

export function basicOf(name: string, password: string): string {
  return `Basic ${btoa(`${name}:${password}`)}`;
}
