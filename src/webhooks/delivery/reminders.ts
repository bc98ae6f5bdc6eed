/**
 * Sends queue messages (reminders) for pending deliveries whose messages were lost. The row of a delivery has the whole state,
 * so a new message is enough to continue.
 */
import type { Env } from '../../env.ts';
import { type Database, newBatch } from '../../events/batch.ts';
import { firstEventWithin } from '../../events/history.ts';
import { prepare } from '../../events/sql.ts';
import { type DeliveryKey, KEYS, type Resumption, sendDeliveries } from './deliveries.ts';
import { BREAK_AFTER, LIFETIME, MAX_TRIES } from './schedule.ts';

/** The number of seconds after its due time when a delivery counts as forgotten, because its message must be lost. */
const FORGOTTEN = 5 * 60;

/** SQL condition: the breaker of subscription `s` is open, so only one probe at a time is sent. */
const IS_BROKEN = `s.failures >= ${BREAK_AFTER} AND s.disabled IS NULL`;
/** SQL condition: delivery `d` is pending and not claimed. */
const WAITS = "d.state = 'waiting' AND d.claimed_until <= unixepoch()";

/** Returns a SELECT that yields a row if there is a pending delivery that may be sent now. */
export function anyWaiting(env: Database): D1PreparedStatement {
  return env.DB.prepare(
    `SELECT 1 FROM subscriptions s CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
     WHERE (NOT (${IS_BROKEN}) OR s.open_until <= unixepoch()) AND ${WAITS} AND d.due_at <= unixepoch() LIMIT 1`,
  );
}

/** A forgotten delivery. `ignored` is 1 if a reminder was sent and no consumer has sent the delivery since. */
type Forgotten = DeliveryKey & { ignored: number };

/**
 * Sends messages for overdue deliveries. Their messages were lost, never sent, or dropped during a long pause of the endpoint.
 * After a pause, only the oldest delivery of the endpoint gets a message.
 * @param limit the maximum number of messages
 * @param after the number of seconds after its due time when a delivery counts as forgotten
 * @returns the number of messages
 */
export async function remindOfForgotten(
  env: Database & Pick<Env, 'DELIVERIES'>,
  limit: number,
  after = FORGOTTEN,
): Promise<number> {
  return (await retryForgotten(env, { messages: limit, direct: 0 }, after)).reminded;
}

/**
 * Sends messages as `remindOfForgotten` does. Returns deliveries that the caller must send itself: those whose reminders were
 * ignored, and those for which the queue does not accept a message.
 * @param limits.messages the maximum number of messages; with 0, none is sent
 * @param limits.direct the maximum number of deliveries to return
 * @param after the number of seconds after its due time when a delivery counts as forgotten
 * @returns the number of messages (`reminded`), and the deliveries that the caller must send (`direct`)
 */
export async function retryForgotten(
  env: Database & Pick<Env, 'DELIVERIES'>,
  limits: { messages: number; direct: number },
  after = FORGOTTEN,
): Promise<{ reminded: number; direct: DeliveryKey[] }> {
  const late = `${WAITS} AND d.due_at < unixepoch() - ${after}`;
  const batch = newBatch(env);
  const fresh = batch.query<Forgotten>(
    `UPDATE deliveries SET due_at = unixepoch(), reminded = reminded + 1 WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s
       CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
       WHERE NOT (${IS_BROKEN}) AND ${late} AND (d.reminded = 0 OR d.tries >= ${MAX_TRIES} OR :direct = 0) LIMIT :messages)
     RETURNING subscription, event`,
    limits,
  );
  const ignored = batch.query<Forgotten>(
    `SELECT d.subscription, d.event FROM subscriptions s
     CROSS JOIN deliveries d ON d.subscription = s.id AND d.event IN (
       SELECT d.event FROM deliveries d INDEXED BY deliveries_waiting
       WHERE d.subscription = s.id AND ${late} AND (d.tries < ${MAX_TRIES} AND d.reminded > 0 OR :messages = 0)
       ORDER BY d.event LIMIT :direct)
     WHERE NOT (${IS_BROKEN})
     ORDER BY row_number() OVER (PARTITION BY d.subscription ORDER BY d.event), d.due_at LIMIT :direct`,
    limits,
  );
  const first = batch.query<Forgotten>(
    `SELECT subscription, event, reminded > 0 AND due_at < unixepoch() - ${FORGOTTEN} AND open_until <= due_at
         AND tries < ${MAX_TRIES} AS ignored FROM (
       SELECT s.id AS subscription, s.open_until, (
         SELECT d.event FROM deliveries d INDEXED BY deliveries_waiting
         WHERE d.subscription = s.id AND ${WAITS} AND d.due_at <= unixepoch() ORDER BY d.event LIMIT 1) AS event
       FROM subscriptions s WHERE ${IS_BROKEN} AND s.open_until <= unixepoch())
     JOIN deliveries d USING (subscription, event) LIMIT max(:messages, :direct)`,
    limits,
  );
  const results = await batch.commit();
  const candidates = results.of(first);
  const viaQueue = limits.direct === 0 || limits.messages > 0;
  const probes = candidates.filter((one) => viaQueue && (one.ignored === 0 || limits.direct === 0));
  const tried = [...candidates.filter((one) => !probes.includes(one)), ...results.of(ignored)];
  const messages = [...results.of(fresh), ...probes];
  const sent = messages.length === 0 || (await sendDeliveries(env, messages));
  if (sent && limits.direct > 0) await noteReminders(env, probes);
  const direct = inTurn([...tried, ...(sent ? [] : messages)]).slice(0, limits.direct);
  return { reminded: sent ? messages.length : 0, direct };
}

/**
 * Orders deliveries: the first delivery of each webhook, then the second of each, and so on. So a webhook with many deliveries
 * does not delay other webhooks.
 */
function inTurn(keys: DeliveryKey[]): DeliveryKey[] {
  const bySubscription = [...Map.groupBy(keys, ({ subscription }) => subscription).values()];
  const longest = Math.max(0, ...bySubscription.map(({ length }) => length));
  return Array.from({ length: longest }, (_, n) => bySubscription.flatMap((own) => own[n] ?? [])).flat();
}

async function noteReminders(env: Database, keys: DeliveryKey[]): Promise<void> {
  if (keys.length === 0) return;
  await prepare(
    env,
    `UPDATE deliveries SET due_at = unixepoch(), reminded = reminded + 1 FROM (${KEYS}) AS k
     WHERE deliveries.subscription = k.subscription AND deliveries.event = k.event`,
    { keys: keys.map(({ subscription, event }) => ({ subscription, event })) },
  ).run();
}

/** The number of messages that are sent at once for an endpoint that works again. More messages could overload the endpoint. */
const RESUMED_AT_ONCE = 500;
/** The number of seconds between two groups of such messages. */
const RESUMED_AFTER = 5;

/**
 * Sends messages for deliveries that were never tried because the breaker of their endpoint was open. If there are more, sends
 * a `Resumption` to the queue, and its consumer continues, until all messages are sent or the endpoint fails again. If the
 * `Resumption` is lost, the cron job sends the rest.
 */
export async function sendReminders(env: Database & Pick<Env, 'DELIVERIES'>, { resume: id, after }: Resumption): Promise<void> {
  const { results } = await prepare(
    env,
    `SELECT d.subscription, d.event FROM subscriptions s
     CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
     WHERE s.id = :id AND NOT (${IS_BROKEN}) AND d.event > :after AND ${WAITS} AND d.tries = 0
     ORDER BY d.event LIMIT ${RESUMED_AT_ONCE}`,
    { id, after },
  ).all<DeliveryKey>();
  await sendDeliveries(env, results);
  const last = results[RESUMED_AT_ONCE - 1];
  if (last) await env.DELIVERIES.send({ resume: id, after: last.event } satisfies Resumption, { delaySeconds: RESUMED_AFTER });
}

const ATTEMPT = `json_object('at', unixepoch(), 'status', NULL, 'latencyMs', 0, 'response', '', 'next', NULL,
  'error', 'nothing was sent: the endpoint failed for too long')`;

/**
 * Marks up to `limit` deliveries as failed whose lifetime has passed while the breaker was open. During that time only one
 * probe an hour is sent, so most of these deliveries would never be sent.
 */
export async function failExpired(env: Database, limit: number): Promise<void> {
  await prepare(
    env,
    `UPDATE deliveries SET state = 'failed', due_at = unixepoch(), attempts = json_insert(attempts, '$[#]', ${ATTEMPT})
     WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s
       CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
       WHERE ${IS_BROKEN} AND ${WAITS} AND d.event < :before AND d.due_at <= unixepoch()
         AND (d.tries >= ${MAX_TRIES} OR coalesce(d.first_tried_at, d.created_at) < unixepoch() - ${LIFETIME}) LIMIT :limit)`,
    { before: await firstEventWithin(env, LIFETIME), limit },
  ).run();
}
