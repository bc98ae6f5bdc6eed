/**
 * Logins that are kept open by refresh tokens. docker stores the refresh token of `docker login`, sends it again and again, and
 * ignores a new one. So a refresh token is replaced only when a client asks for a new one (`access_type=offline`). The old
 * token is then used up. If it is sent once more, somebody has stolen one of the two tokens, and the login ends for both
 * holders.
 */
import { type Database, newBatch } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import type { Secrets } from '../secrets.ts';
import { perDatabase } from '../telemetry.ts';
import { expireAllowances } from './allowance.ts';
import type { Authority } from './authority.ts';
import type { TokenContext } from './runtime.ts';
import { mintRefreshToken, REFRESH_TOKEN_LIFETIME } from './tokens.ts';

/**
 * Returns a refresh token for the caller: the first one of a new login, or the next one of the login to which the caller's own
 * refresh token belongs.
 */
export async function beginLogin(env: Database & Secrets, authority: Authority, context: TokenContext): Promise<string> {
  const { login } = authority;
  const next = login ? { id: login.id, generation: login.generation + 1 } : { id: crypto.randomUUID(), generation: 0 };
  if (!login) await openLogin(env, next.id, authority.subject);
  return (await mintRefreshToken(env, authority, next, context)).token;
}

/**
 * The maximum number of open logins of one account. If there are more, the oldest logins end. A machine that logs in once a day
 * has 30 open logins. If 100 pipeline jobs log in as one robot each day, a login lasts ten days.
 */
const LIVING_MAX = 1000;
/** Only every 16th new login ends the oldest ones, because finding them reads a row for each open login. */
const LOOKED_FOR_EVERY = 16;
/** The number of logins that started in this isolate. */
const begunIn = perDatabase(() => ({ logins: 0 }));

/** Opens a login. It lasts as long as a refresh token. @param id a new random id */
export async function openLogin(env: Database, id: string, subject: string): Promise<void> {
  const begun = begunIn(env);
  const count = begun.logins++;
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
 * Checks the caller's refresh token, if the caller has one, before an access token is issued.
 * @param rotate true if the client asks for a new refresh token, which uses up the old one
 * @returns false if the token was used up before. In that case the login is ended
 */
export async function continueLogin(env: Database, { login }: Authority, rotate: boolean): Promise<boolean> {
  if (!login) return true;
  if (login.current && !rotate) return true;
  const rotated = login.current && (await rotateLogin(env, login));
  if (!rotated) await prepare(env, 'UPDATE logins SET ended = 1 WHERE id = :id', { id: login.id }).run();
  return rotated;
}

/**
 * Uses up a refresh token by compare-and-swap. @returns false if another request used it up first, or if the login has ended
 */
async function rotateLogin(env: Database, { id, generation }: { id: string; generation: number }): Promise<boolean> {
  const rotated = await prepare(
    env,
    `UPDATE logins SET generation = generation + 1, expires_at = unixepoch() + :lifetime
     WHERE id = :id AND generation = :generation AND ended = 0 RETURNING id`,
    { id, generation, lifetime: REFRESH_TOKEN_LIFETIME },
  ).first();
  return rotated !== null;
}

/**
 * The number of logins that a run reads before and after a random id to find expired ones. An index by time would cost one more
 * written row for each login.
 */
const LOOKED_AT = 1000;

/**
 * Deletes expired logins, and old counts of `allowance.ts`. Login ids are random, so each login is found sooner or later.
 * @returns the number of logins that were deleted
 */
export async function expireLogins(env: Database, limit: number): Promise<number> {
  const batch = newBatch(env);
  const some = (side: string) => `SELECT * FROM (SELECT l.id, l.expires_at FROM place CROSS JOIN logins l
    WHERE l.id ${side} LIMIT ${LOOKED_AT})`;
  const expired = batch.run(
    `WITH place(id) AS MATERIALIZED (SELECT lower(hex(randomblob(8))))
     DELETE FROM logins WHERE id IN (SELECT id FROM (
       ${some('>= place.id ORDER BY l.id')} UNION ALL ${some('< place.id ORDER BY l.id DESC')})
     WHERE expires_at <= unixepoch() LIMIT :limit)`,
    { limit },
  );
  expireAllowances(batch, limit);
  return (await batch.commit()).changes(expired);
}
