/** Concurrent finishes of one upload write the same parts of one multipart object, so one can spoil the other's (VERIFY=stream). */
import { isSpoilt } from '../../storage/multipart.ts';

/** Milliseconds to wait for another finish of the same upload. */
const PAUSES = [100, 300, 900, 2700];

/**
 * Runs a finish. If a concurrent one spoils it, waits until that one has won. If none wins, a repeatable finish is tried again.
 * @param hasLost true if another request has changed the upload since
 * @param isRepeatable true if the request has no body, which could be read only once
 * @throws the error of the last attempt
 */
export async function finishDespiteOthers<T>(
  attempt: () => Promise<T>,
  hasLost: (error: unknown) => Promise<boolean>,
  isRepeatable: boolean,
): Promise<T> {
  let next = attempt;
  for (const pause of PAUSES) {
    try {
      return await next();
    } catch (error) {
      if (!isSpoilt(error)) throw error;
      await scheduler.wait(pause);
      if (await hasLost(error)) throw error;
      if (!isRepeatable) next = () => Promise.reject(error);
    }
  }
  return next();
}
