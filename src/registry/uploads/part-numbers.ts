/** Part numbers of the multipart uploads that several requests of one upload continue. */
import { settings } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import { lastNumber } from '../../storage/objects.ts';
import type { StagingLimits } from '../../storage/staging.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Session, Stores, Upload } from './sessions.ts';

/** Returns the limits for the bytes of a request, with the function that claims part numbers if the upload's row has parts. */
export function stagingLimits(env: Stores, upload: Upload, session: Session): StagingLimits {
  const { partBytes, maxPutBytes, verify } = settings(env);
  const limits = { partBytes, maxPutBytes, verify };
  if (session.staged.multipart === null) return limits;
  return { ...limits, claimParts: (count) => claimParts(env, upload, session, count) };
}

/**
 * Reserves `count` part numbers of the upload's multipart upload for a request. They are greater than those of all other
 * requests. So requests at the same time do not replace each other's parts, and the numbers of the request that wins ascend.
 * The row keeps the greatest claimed number beside the staged bytes, as `claimed`; `saveSession` leaves it as it is.
 * @returns the first of the numbers
 * @throws overtaken if another request has changed the upload since `session` was read
 */
async function claimParts(env: Stores, { id }: Upload, { version, staged }: Session, count: number): Promise<number> {
  const used = lastNumber(staged.multipart) + (staged.lastPart === null ? 0 : 1);
  const row = await prepare(
    env,
    `UPDATE uploads SET staged = json_set(staged, '$.claimed', max(coalesce(staged ->> '$.claimed', 0), :used) + :count)
     WHERE id = :id AND version = :version AND state = 'open' AND expires_at > unixepoch()
     RETURNING staged ->> '$.claimed' AS last`,
    { id, version, used, count },
  ).first<{ last: number }>();
  if (!row) throw new Refusal('overtaken');
  return row.last - count + 1;
}
