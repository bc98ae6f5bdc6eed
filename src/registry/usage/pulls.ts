/**
 * Counts the pulls of images by day. Writing a row for each pull would be the most expensive work of a registry, so frequent
 * pulls are sampled. The first 16 pulls of an image on a day are counted one by one. After that, with a count of c, one pull in
 * k = ⌈c / 16⌉ is written and adds k to the count. The expected value of the count is the true number of pulls. The standard
 * error stays below 18 % (the variance of n pulls is at most n² / 32, as with Morris's counter of base 17/16). 10,000 pulls of
 * an image on a day write about 120 rows. The day of the last pull is exact, because the first pull of a day is always written.
 */
import { type Database, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';

/** The number of pulls of an image on a day that are counted one by one. */
const EXACT = 16;
/** The maximum number of days in a report. */
const DAYS_MAX = 366;
const SECONDS_PER_DAY = 24 * 60 * 60;

/** SQL expression on a row `p` of `pulls`, which may be missing: the number of pulls for which the next written pull counts. */
const WEIGHT = `max(1, (coalesce(p.count, 0) + ${EXACT - 1}) / ${EXACT})`;

/** Pulls and HEAD requests of one image that are written together. */
export interface Use {
  repository: RepositoryName;
  digest: Digest;
  pulls: number;
  /**
   * True if a client sent HEAD for the manifest. Nodes that already have the image do so, so the image is in use. Only the day
   * of the last HEAD request is stored, so that at most one row is written per image and day.
   */
  checked: boolean;
  /** A random number, at least 0 and below 1. It decides whether frequent pulls are written. */
  random: number;
}

/** Writes pulls and HEAD requests of images. Skips repositories that no longer exist. */
export async function writeUses(env: Pick<Database, 'DB'>, uses: Use[]): Promise<void> {
  const statements = [];
  const pulled = uses.filter(({ pulls }) => pulls > 0);
  const checked = uses.filter((use) => use.checked);
  const listOf = (of: Use[]) => of.map(({ repository, digest, pulls, random }) => [repository, digest, pulls, random]);
  if (pulled.length > 0) statements.push(prepare(env, ADD_PULLS, { uses: listOf(pulled) }));
  if (checked.length > 0) statements.push(prepare(env, SET_CHECKS, { uses: listOf(checked) }));
  await env.DB.batch(statements);
}

const TODAY = `unixepoch() / ${SECONDS_PER_DAY}`;
/** SQL: the list `:uses` as rows `u`, each with its repository `r`. */
const USES = `FROM (SELECT value ->> 0 AS repository, value ->> 1 AS digest, value ->> 2 AS pulls, value ->> 3 AS random
   FROM json_each(:uses)) u CROSS JOIN repositories r ON r.name = u.repository`;

/**
 * SQL statement that adds pulls. If a use has fewer pulls than a written pull counts for, it is written with such a probability
 * that the expected count is right.
 */
const ADD_PULLS = `INSERT INTO pulls (repository_id, digest, day, count)
  SELECT r.id, u.digest, ${TODAY}, coalesce(p.count, 0) + max(u.pulls, ${WEIGHT}) ${USES}
  LEFT JOIN pulls p ON p.repository_id = r.id AND p.digest = u.digest AND p.day = ${TODAY}
  WHERE u.random * ${WEIGHT} < u.pulls
  ON CONFLICT DO UPDATE SET count = excluded.count`;

const SET_CHECKS = `INSERT INTO manifest_checks (repository_id, digest, day)
  SELECT r.id, u.digest, ${TODAY} ${USES} WHERE TRUE
  ON CONFLICT DO UPDATE SET day = excluded.day WHERE day < excluded.day`;

export interface Pulls {
  total: number;
  /** The day of the last HEAD request, in days since the epoch, or `null` if there was none. A HEAD request is not a pull. */
  checkedOn: number | null;
  /** The number of pulls on each day (days since the epoch), the newest day first. */
  days: { day: number; pulls: number }[];
}

/** Returns the pulls of one image, or of all images of the repository if `digest` is `null`. @throws repository-unknown */
export async function pullsOf(env: Database, repository: RepositoryName, digest: Digest | null): Promise<Pulls> {
  const ofDigest = (row: string) => (digest ? `AND ${row}.digest = :digest` : '');
  const batch = newBatch(env);
  const sums = batch.query<Omit<Pulls, 'days'>>(
    `SELECT coalesce(sum(p.count), 0) AS total,
       (SELECT max(k.day) FROM manifest_checks k WHERE k.repository_id = r.id ${ofDigest('k')}) AS checkedOn
     FROM repositories r LEFT JOIN pulls p ON p.repository_id = r.id ${ofDigest('p')} WHERE r.name = :repository GROUP BY r.id`,
    { repository, digest },
  );
  const days = batch.query<Pulls['days'][number]>(
    `SELECT p.day, sum(p.count) AS pulls FROM repositories r CROSS JOIN pulls p ON p.repository_id = r.id ${ofDigest('p')}
     WHERE r.name = :repository GROUP BY p.day ORDER BY p.day DESC LIMIT ${DAYS_MAX}`,
    { repository, digest },
  );
  const results = await batch.commit();
  const sum = results.first(sums);
  if (!sum) throw new Refusal('repository-unknown');
  return { ...sum, days: results.of(days) };
}
