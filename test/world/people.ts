/** Creates users through the API, and sends requests to the API as these users. */
import { expect } from 'vitest';
import { expectAsDescribed } from './contract.ts';
import type { World } from './world.ts';

export interface Person {
  name: string;
  /** `user:alice` */
  subject: string;
  /** The secret of the user's first access key. */
  secret: string;
  /** The id of that key. */
  keyId: string;
  /** Authorization headers with that key, for the schemes Basic and Bearer. */
  basic: string;
  bearer: string;
}

/** An answer of the API. `T` is the type of its body, as far as the test reads it. */
export interface ApiAnswer<T = Record<string, unknown>> {
  status: number;
  /** The parsed JSON. `null` if there is no body, and a text if the body is not JSON. */
  body: T;
  headers: Headers;
}

export interface ApiRequest {
  /** The Authorization header. `null` for no header. By default, that of the administrator. */
  as?: string | null;
  /** The body, sent as JSON. A string is sent unchanged. */
  body?: unknown;
  headers?: Record<string, string>;
}

/** Sends a request to the API and checks the answer against its description. @param path the part after `/api/v1` */
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

/** The status and the error code of a refusal. */
export function refused({ status, body }: ApiAnswer<unknown>): string {
  return `${status} ${(body as { errors?: { code: string }[] } | null)?.errors?.[0]?.code}`;
}

interface Invited {
  invitation: { token: string };
}

interface Joined {
  key: { id: string; secret: string };
}

/** The token of a user's open invitation. Invites the user if there is no such user. */
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
