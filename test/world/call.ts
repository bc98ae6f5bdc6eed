/** Helpers that call operations directly, without HTTP, and check that a refused operation changes nothing. */
import { expect } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import type { ContentCall } from '../../src/app/content.ts';
import { loadAuthority } from '../../src/auth/rights/lookup.ts';
import { parseScopes } from '../../src/auth/scope.ts';
import { passwordMark } from '../../src/auth/secrets.ts';
import { isRefusal } from '../../src/vocabulary/refusal.ts';
import type { Person } from './people.ts';
import { ORIGIN, tablesOf, type World } from './world.ts';

/**
 * Returns the `Call` of a user.
 * @param person `null` for an anonymous caller
 * @param repositories the repositories of the operation, whose policies are loaded with the caller's rights
 */
export async function callAs(
  world: World,
  person: Person | 'administrator' | null,
  repositories: readonly string[] = [],
): Promise<Call> {
  const { env } = world;
  const credential =
    person === 'administrator'
      ? ({ kind: 'password', mark: await passwordMark(env) } as const)
      : person && ({ kind: 'key', key: person.keyId, name: person.name } as const);
  const now = Date.now();
  const network = { service: new URL(ORIGIN).host, now, fetch, insecureIssuers: false };
  const authority = await loadAuthority(env, credential, repositories, network);
  if (!authority) throw new Error('the credential does not count');
  const { service } = network;
  return { env, authority, address: null, origin: ORIGIN, service, now, work: { waitUntil: () => {} } };
}

/**
 * Returns the call of a user for operations on content. @param scopes the scopes of the access token. Without them, the
 * credential itself is used instead of a token
 */
export async function contentCallAs(
  world: World,
  person: Person | 'administrator' | null,
  repositories: readonly string[],
  scopes?: string[],
): Promise<ContentCall> {
  const call = await callAs(world, person, repositories);
  const grants = scopes ? parseScopes(scopes) : null;
  return { ...call, caller: { subject: call.authority.subject, credential: null, grants }, uploading: null, assumed: null };
}

/** Returns every row of every table. */
async function everyRow({ env }: World): Promise<Record<string, unknown[]>> {
  const tables = tablesOf((env as unknown as { SCHEMA: string[] }).SCHEMA);
  const results = await env.DB.batch(tables.map((table) => env.DB.prepare(`SELECT * FROM ${table}`)));
  return Object.fromEntries(tables.map((table, n) => [table, results[n]?.results ?? []]));
}

/** Runs an operation that must be refused, and expects that the database is unchanged afterwards. @returns the reason */
export async function reasonOf(world: World, operation: () => Promise<unknown>): Promise<string> {
  const before = await everyRow(world);
  const outcome = await operation().then(
    (value) => `it was done: ${JSON.stringify(value)}`,
    (error: unknown) => {
      if (isRefusal(error)) return error.reason;
      throw error;
    },
  );
  expect(await everyRow(world)).toEqual(before);
  return outcome;
}
