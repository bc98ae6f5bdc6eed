/**
 * Logins that last, and their refresh tokens. docker keeps the one it got at `docker login` and uses it again and again; it
 * takes no other. So a token is replaced only when a client asks for another one (`access_type=offline`): the one before
 * is then used up, and whoever shows it once more has stolen it, or was stolen from. That ends the login for both.
 */
import type { Secrets } from '../secrets.ts';
import { bindingOf } from '../telemetry.ts';
import { expireAllowances } from './allowance.ts';
import type { Authority } from './authority.ts';
import type { Database } from './directory.ts';
import type { TokenContext } from './runtime.ts';
import { mintRefreshToken, REFRESH_TOKEN_LIFETIME } from './tokens.ts';

/** For the caller of `authority`: a refresh token, the first of a login or the next of the one it continues. */
export async function beginLogin(env: Database & Secrets, authority: Authority, context: TokenContext): Promise<string> {
  const { login } = authority;
  const next = login ? { id: login.id, generation: login.generation + 1 } : { id: crypto.randomUUID(), generation: 0 };
  if (!login) await insertLogin(env, next.id, authority.subject);
  return (await mintRefreshToken(env, authority, next, context)).token;
}

/**
 * Logins of one account that live at once: where there are more the oldest end. A machine that logs in once a day has 30, a robot
 * of a pipeline that runs 100 jobs a day has ten days for each.
 */
export const LIVING_MAX = 1000;
/** The oldest are looked for once in so many logins that this isolate begins, as that reads a row for each that lives. */
const LOOKED_FOR_EVERY = 16;
const begun = new WeakMap<D1Database, number>();

async function insertLogin(env: Database, id: string, subject: string): Promise<void> {
  const database = bindingOf(env.DB);
  const count = begun.get(database) ?? 0;
  begun.set(database, count + 1);
  const insert = env.DB.prepare('INSERT INTO logins (id, subject, expires_at) VALUES (?1, ?2, unixepoch() + ?3)').bind(
    id,
    subject,
    REFRESH_TOKEN_LIFETIME,
  );
  if (count % LOOKED_FOR_EVERY > 0) await insert.run();
  else await env.DB.batch([insert, endOldest(env, subject)]);
}

function endOldest(env: Database, subject: string): D1PreparedStatement {
  return env.DB.prepare(
    `DELETE FROM logins WHERE id IN (
       SELECT id FROM logins INDEXED BY logins_by_subject WHERE subject = ?1 ORDER BY expires_at DESC LIMIT -1 OFFSET ${LIVING_MAX})`,
  ).bind(subject);
}

/**
 * Before a token is given to somebody who showed a refresh token: `false` where that was used up already.
 * @param rotate the client asks for another refresh token, which uses this one up
 */
export async function continueLogin(env: Database, { login }: Authority, rotate: boolean): Promise<boolean> {
  if (!login) return true;
  if (login.current && !rotate) return true;
  const rotated = login.current && (await rotateLogin(env, login));
  if (!rotated) await env.DB.prepare('UPDATE logins SET ended = 1 WHERE id = ?1').bind(login.id).run();
  return rotated;
}

/** Compare-and-swap: of two who show the same token at once, one is not its owner. */
async function rotateLogin(env: Database, { id, generation }: { id: string; generation: number }): Promise<boolean> {
  const rotated = await env.DB.prepare(
    `UPDATE logins SET generation = generation + 1, expires_at = unixepoch() + ?3
     WHERE id = ?1 AND generation = ?2 AND ended = 0 RETURNING id`,
  )
    .bind(id, generation, REFRESH_TOKEN_LIFETIME)
    .first();
  return rotated !== null;
}

/** What has ended is of no use any more. Returns how many rows went. */
export async function expireLogins(env: Database, limit: number): Promise<number> {
  const [expired] = await env.DB.batch([
    env.DB.prepare('DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE expires_at <= unixepoch() LIMIT ?1)').bind(
      limit,
    ),
    expireAllowances(env, limit),
  ]);
  return expired?.meta.changes ?? 0;
}
