/**
 * Outside tokens that were used as a password while they were valid. podman, crane and kaniko send the password that they were
 * given for each token that they need, even after it has expired. A token that was used in time stays valid for as long as its
 * trust rule allows, like the refresh token that docker gets.
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { OutsideLogin } from '../credential.ts';

/** The row's id: a hash of the token, which does not reveal it. */
export async function outsideLoginId(token: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export async function noteOutsideLogin(env: Database, { id, at, since, until }: OutsideLogin): Promise<void> {
  await prepare(
    env,
    `INSERT INTO outside_logins (id, began_at, since, expires_at) VALUES (:id, :at, :since, :until) ON CONFLICT DO NOTHING`,
    { id, at, since, until },
  ).run();
}

/** Deletes logins that have ended. @returns the number of rows deleted */
export async function expireOutsideLogins(env: Database, limit: number): Promise<number> {
  const { meta } = await prepare(
    env,
    'DELETE FROM outside_logins WHERE id IN (SELECT id FROM outside_logins WHERE expires_at <= unixepoch() LIMIT :limit)',
    { limit },
  ).run();
  return meta.changes;
}
