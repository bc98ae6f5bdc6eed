/**
 * Outside tokens that were shown as a password while they were valid. Clients such as podman, crane and kaniko keep the password
 * that they were given and send it again for each token they need, also after it has expired. One that was seen in time goes on as
 * long as its rule says, as what docker gets in its place does.
 */
import type { Database } from '../directory.ts';

/** The row is found by the token and says nothing of it. */
export async function outsideLoginId(token: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** One row for each token, written at its first use. */
export interface OutsideLogin {
  id: string;
  /** Seconds since the epoch, as is `until`. */
  at: number;
  since: number;
  until: number;
}

export async function noteOutsideLogin(env: Database, { id, at, since, until }: OutsideLogin): Promise<void> {
  await env.DB.prepare(
    'INSERT INTO outside_logins (id, began_at, since, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING',
  )
    .bind(id, at, since, until)
    .run();
}

/** Those whose time is over. Returns how many rows went. */
export async function expireOutsideLogins(env: Database, limit: number): Promise<number> {
  const { meta } = await env.DB.prepare(
    'DELETE FROM outside_logins WHERE id IN (SELECT id FROM outside_logins WHERE expires_at <= unixepoch() LIMIT ?1)',
  )
    .bind(limit)
    .run();
  return meta.changes;
}
