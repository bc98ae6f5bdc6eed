/**
 * Messages for rows that have none: a row says by itself what is to be done with it, so whatever became of its message, it is
 * tried or comes to its end.
 */
import type { Env } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import { firstEventWithin } from '../../events/history.ts';
import { type DeliveryKey, MEANT, type Resumption, sendDeliveries } from './deliveries.ts';
import { BREAK_AFTER, LIFETIME, MAX_TRIES } from './schedule.ts';

/** Seconds after its time at which a delivery counts as forgotten by the queue. */
const FORGOTTEN = 5 * 60;

/** Of subscription `s`: nothing is sent, but now and then one to see whether it is well again. */
const BROKEN = `s.failures >= ${BREAK_AFTER} AND s.disabled IS NULL`;
const WAITS = "d.state = 'waiting' AND d.claimed_until <= unixepoch()";

/** A statement that answers a row where anything waits that may be tried now. */
export function anythingWaits(env: Database): D1PreparedStatement {
  return env.DB.prepare(
    `SELECT 1 FROM subscriptions s CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
     WHERE (NOT (${BROKEN}) OR s.open_until <= unixepoch()) AND ${WAITS} AND d.due_at <= unixepoch() LIMIT 1`,
  );
}

/** What was forgotten. `vain`: the queue was reminded of it, and nobody has asked its endpoint since. */
type Forgotten = DeliveryKey & { vain: number };

/**
 * Reminds the queue of what waits past its time, up to `limit`: messages that were lost, or never sent, or given back while
 * their endpoint had a long pause. Of an endpoint whose pause is over it reminds with one, the oldest. @returns how many
 */
export async function remindOfForgotten(
  env: Database & Pick<Env, 'DELIVERIES'>,
  limit: number,
  after = FORGOTTEN,
): Promise<number> {
  return (await goOnWithForgotten(env, { messages: limit, direct: 0 }, after)).reminded;
}

/**
 * The same, and the deliveries that the caller has to try by itself, up to `limits.direct`: those that the queue was reminded of in
 * vain, and those that it does not take a message for. @param limits.messages 0 where none may be sent
 * @param after seconds after its time at which a delivery counts as forgotten
 */
export async function goOnWithForgotten(
  env: Database & Pick<Env, 'DELIVERIES'>,
  limits: { messages: number; direct: number },
  after = FORGOTTEN,
): Promise<{ reminded: number; direct: DeliveryKey[] }> {
  const late = `${WAITS} AND d.due_at < unixepoch() - ${after}`;
  const [fresh, vain, first] = (
    await env.DB.batch<Forgotten>([
      env.DB.prepare(
        `UPDATE deliveries SET due_at = unixepoch(), reminded = reminded + 1 WHERE (subscription, event) IN (
           SELECT d.subscription, d.event FROM subscriptions s
           CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
           WHERE NOT (${BROKEN}) AND ${late} AND (d.reminded = 0 OR d.tries >= ${MAX_TRIES} OR ?2 = 0) LIMIT ?1)
         RETURNING subscription, event`,
      ).bind(limits.messages, limits.direct),
      env.DB.prepare(
        `SELECT d.subscription, d.event FROM subscriptions s
         CROSS JOIN deliveries d ON d.subscription = s.id AND d.event IN (
           SELECT d.event FROM deliveries d INDEXED BY deliveries_waiting
           WHERE d.subscription = s.id AND ${late} AND (d.tries < ${MAX_TRIES} AND d.reminded > 0 OR ?2 = 0)
           ORDER BY d.event LIMIT ?1)
         WHERE NOT (${BROKEN})
         ORDER BY row_number() OVER (PARTITION BY d.subscription ORDER BY d.event), d.due_at LIMIT ?1`,
      ).bind(limits.direct, limits.messages),
      env.DB.prepare(
        `SELECT subscription, event, reminded > 0 AND due_at < unixepoch() - ${FORGOTTEN} AND open_until <= due_at
             AND tries < ${MAX_TRIES} AS vain FROM (
           SELECT s.id AS subscription, s.open_until, (
             SELECT d.event FROM deliveries d INDEXED BY deliveries_waiting
             WHERE d.subscription = s.id AND ${WAITS} AND d.due_at <= unixepoch() ORDER BY d.event LIMIT 1) AS event
           FROM subscriptions s WHERE ${BROKEN} AND s.open_until <= unixepoch())
         JOIN deliveries d USING (subscription, event) LIMIT ?1`,
      ).bind(Math.max(limits.messages, limits.direct)),
    ])
  ).map(({ results }) => results) as [Forgotten[], Forgotten[], Forgotten[]];
  const viaQueue = limits.direct === 0 || limits.messages > 0;
  const probes = first.filter(({ vain: isVain }) => viaQueue && (isVain === 0 || limits.direct === 0));
  const tried = [...first.filter((one) => !probes.includes(one)), ...vain];
  const messages = [...fresh, ...probes];
  const sent = messages.length === 0 || (await sendDeliveries(env, messages));
  if (sent && limits.direct > 0) await noteReminders(env, probes);
  const direct = inTurn([...tried, ...(sent ? [] : messages)]).slice(0, limits.direct);
  return { reminded: sent ? messages.length : 0, direct };
}

/** One of each webhook, then a second one of each, and so on: one with many does not keep out the others. */
function inTurn(keys: DeliveryKey[]): DeliveryKey[] {
  const bySubscription = [...Map.groupBy(keys, ({ subscription }) => subscription).values()];
  const longest = Math.max(0, ...bySubscription.map(({ length }) => length));
  return Array.from({ length: longest }, (_, n) => bySubscription.flatMap((own) => own[n] ?? [])).flat();
}

async function noteReminders(env: Database, keys: DeliveryKey[]): Promise<void> {
  if (keys.length === 0) return;
  await env.DB.prepare(
    `UPDATE deliveries SET due_at = unixepoch(), reminded = reminded + 1 FROM (${MEANT}) AS m
     WHERE deliveries.subscription = m.subscription AND deliveries.event = m.event`,
  )
    .bind(JSON.stringify(keys.map(({ subscription, event }) => ({ subscription, event }))))
    .run();
}

/** Reminders of one resumption, and seconds until the next: an endpoint that is well again is not flooded. */
const RESUMED_AT_ONCE = 500;
const RESUMED_AFTER = 5;

/**
 * Reminds of what was never tried, as its endpoint had a pause: no message is kept for each of them meanwhile. Goes on by itself
 * until all are reminded of, or the endpoint fails again. What is lost of it is left to the cron.
 */
export async function resume(env: Database & Pick<Env, 'DELIVERIES'>, { resume: id, after }: Resumption): Promise<void> {
  const { results } = await env.DB.prepare(
    `SELECT d.subscription, d.event FROM subscriptions s
     CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
     WHERE s.id = ?1 AND NOT (${BROKEN}) AND d.event > ?2 AND ${WAITS} AND d.tries = 0 ORDER BY d.event LIMIT ?3`,
  )
    .bind(id, after, RESUMED_AT_ONCE)
    .all<DeliveryKey>();
  await sendDeliveries(env, results);
  const last = results[RESUMED_AT_ONCE - 1];
  if (last) await env.DELIVERIES.send({ resume: id, after: last.event } satisfies Resumption, { delaySeconds: RESUMED_AFTER });
}

const ATTEMPT = `json_object('at', unixepoch(), 'status', NULL, 'latencyMs', 0, 'response', '', 'next', NULL,
  'error', 'the endpoint was not asked again: it failed for too long')`;

/** Fails what waited for an endpoint all its life, up to `limit`: one try an hour would never come to an end of them. */
export async function endHopeless(env: Database, limit: number): Promise<void> {
  await env.DB.prepare(
    `UPDATE deliveries SET state = 'failed', due_at = unixepoch(), attempts = json_insert(attempts, '$[#]', ${ATTEMPT})
     WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s
       CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
       WHERE ${BROKEN} AND ${WAITS} AND d.event < ?1 AND d.due_at <= unixepoch()
         AND (d.tries >= ${MAX_TRIES} OR coalesce(d.first_tried_at, d.created_at) < unixepoch() - ${LIFETIME}) LIMIT ?2)`,
  )
    .bind(await firstEventWithin(env, LIFETIME), limit)
    .run();
}
