/**
 * Counts uses of images in the memory of this isolate, and writes them to D1 a few seconds later. So a pull takes no D1 call of
 * its own, and many pulls of an image write one row. Counts that are not written yet are lost when the isolate ends.
 */
import { type Env, settings } from '../env.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type Use, writeUses } from '../registry/usage/pulls.ts';
import { perDatabase } from '../telemetry.ts';
import type { Call } from './call.ts';

interface Waiting {
  /** The uses that are not written yet, by repository and digest. */
  uses: Map<string, Use>;
  /** The time at which a running request will write the uses, in milliseconds since the epoch. */
  writtenAt: number;
}

/** The number of images after which the uses are written at once. */
const IMAGES_MAX = 100;
/** The number of milliseconds after which a planned write counts as lost, because its request has died. */
const LOST_AFTER_MS = 30_000;

const waitingIn = perDatabase((): Waiting => ({ uses: new Map(), writtenAt: -Infinity }));

/**
 * Counts a pull, or a HEAD request if `pulls` is 0. The rows are written after the response.
 * @param random a random number, at least 0 and below 1. It decides which pulls of a frequently pulled image are written
 */
export function countUse(
  { env, work, now }: Pick<Call, 'env' | 'work' | 'now'>,
  { repository, digest, pulls, random }: { repository: RepositoryName; digest: Digest; pulls: 0 | 1; random: number },
): void {
  const waiting = waitingIn(env);
  const key = `${repository} ${digest}`;
  const use = waiting.uses.get(key);
  waiting.uses.set(key, {
    repository,
    digest,
    pulls: (use?.pulls ?? 0) + pulls,
    checked: use?.checked === true || pulls === 0,
    random: pulls === 0 ? (use?.random ?? 0) : random,
  });
  const wait = settings(env).pullCountSeconds * 1000;
  if (wait === 0 || waiting.uses.size >= IMAGES_MAX) {
    work.waitUntil(flush(env, waiting));
  } else if (now > waiting.writtenAt + LOST_AFTER_MS) {
    waiting.writtenAt = now + wait;
    work.waitUntil(scheduler.wait(wait).then(() => flush(env, waiting)));
  }
}

async function flush(env: Env, waiting: Waiting): Promise<void> {
  const uses = [...waiting.uses.values()];
  waiting.uses.clear();
  waiting.writtenAt = -Infinity;
  if (uses.length > 0) await writeUses(env, uses);
}
