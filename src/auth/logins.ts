/**
 * Logins with refresh tokens. docker keeps the token of `docker login`, uses it again and again, and accepts no other. So a token is
 * rotated only when a client asks for another one (`access_type=offline`). The old token is then used up: if it is used once more, one
 * of the two holders has stolen it, and the login ends for both.
 */
import { newBatch } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import type { Secrets } from '../secrets.ts';
import { bindingOf } from '../telemetry.ts';
import { expireAllowances } from './allowance.ts';
import type { Authority } from './authority.ts';
import type { Database } from './directory.ts';
import type { TokenContext } from './runtime.ts';
import { mintRefreshToken, REFRESH_TOKEN_LIFETIME } from './tokens.ts';

/** Makes a refresh token for the caller: the first one of a new login, or the next one of the login that it continues. */
export async function beginLogin(env: Database & Secrets, authority: Authority, context: TokenContext): Promise<string> {
  const { login } = authority;
  const next = login ? { id: login.id, generation: login.generation + 1 } : { id: crypto.randomUUID(), generation: 0 };
  if (!login) await insertLogin(env, next.id, authority.subject);
  return (await mintRefreshToken(env, authority, next, context)).token;
}

/**
 * Open logins of one account. Beyond that the oldest end. A machine that logs in once a day has 30; with 100 jobs of a pipeline a day,
 * a login of their robot lasts ten days.
 */
const LIVING_MAX = 1000;
/** One in so many new logins ends the oldest ones, which reads a row for each open login. */
const LOOKED_FOR_EVERY = 16;
const begun = new WeakMap<D1Database, number>();

async function insertLogin(env: Database, id: string, subject: string): Promise<void> {
  const database = bindingOf(env.DB);
  const count = begun.get(database) ?? 0;
  begun.set(database, count + 1);
  const batch = newBatch(env);
  batch.run('INSERT INTO logins (id, subject, expires_at) VALUES (:id, :subject, unixepoch() + :lifetime)', {
    ...{ id, subject, lifetime: REFRESH_TOKEN_LIFETIME },
  });
  if (count % LOOKED_FOR_EVERY === 0) {
    batch.run(
      `DELETE FROM logins WHERE id IN (SELECT id FROM logins INDEXED BY logins_by_subject
         WHERE subject = :subject ORDER BY expires_at DESC LIMIT -1 OFFSET ${LIVING_MAX})`,
      { subject },
    );
  }
  await batch.commit();
}

/**
 * Checks a refresh token before it yields an access token.
 * @param rotate the client asks for another refresh token, which uses this one up
 * @returns `false` if it was used up before: the login has then ended
 */
export async function continueLogin(env: Database, { login }: Authority, rotate: boolean): Promise<boolean> {
  if (!login) return true;
  if (login.current && !rotate) return true;
  const rotated = login.current && (await rotateLogin(env, login));
  if (!rotated) await prepare(env, 'UPDATE logins SET ended = 1 WHERE id = :id', { id: login.id }).run();
  return rotated;
}

/** Compare-and-swap: if two requests use the same token at once, one of them is not its owner. */
async function rotateLogin(env: Database, { id, generation }: { id: string; generation: number }): Promise<boolean> {
  const rotated = await prepare(
    env,
    `UPDATE logins SET generation = generation + 1, expires_at = unixepoch() + :lifetime
     WHERE id = :id AND generation = :generation AND ended = 0 RETURNING id`,
    { id, generation, lifetime: REFRESH_TOKEN_LIFETIME },
  ).first();
  return rotated !== null;
}

/** Deletes logins that have ended, and old counts. @returns the number of logins deleted */
export async function expireLogins(env: Database, limit: number): Promise<number> {
  const batch = newBatch(env);
  const expired = batch.run(
    'DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE expires_at <= unixepoch() LIMIT :limit)',
    { limit },
  );
  expireAllowances(batch, limit);
  return (await batch.commit()).changes(expired);
}
