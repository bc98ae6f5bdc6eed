/** Two finishes of one upload at once write the same parts of one multipart object, and may spoil each other's. */
import { isSpoilt } from '../../storage/multipart.ts';

/** Milliseconds to wait for another finish of the same upload. */
const PAUSES = [100, 300, 900, 2700];

/**
 * The loser waits until the other one is through. Where there is no winner, a finish that has no body of its own tries again.
 * @param isOver whether another request has changed the upload since
 * @throws what the last attempt ended with
 */
export async function uncontested(
  attempt: () => Promise<boolean>,
  isOver: (error: unknown) => Promise<boolean>,
  mayRepeat: boolean,
): Promise<boolean> {
  let next = attempt;
  for (const pause of PAUSES) {
    try {
      return await next();
    } catch (error) {
      if (!isSpoilt(error)) throw error;
      await scheduler.wait(pause);
      if (await isOver(error)) throw error;
      if (!mayRepeat) next = () => Promise.reject(error);
    }
  }
  return next();
}
