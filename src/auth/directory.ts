/**
 * Loads all rows that decide what a caller may do. It takes one statement, and its size is limited (invariant 12). Also creates
 * the account of the first administrator.
 */
import { type Assumption, type Database, type JoinedReads, newBatch } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import { confusableSkeleton, nameOf, namespaceOf, organizationOf } from '../vocabulary/names.ts';
import type { Circumstances } from './conditions.ts';
import { inCircumstances, type LoadedRights, NOTHING_LOADED, type RightsRow as Row } from './loaded-rights.ts';
import { recallRights, rememberRights } from './remembered-rights.ts';
import type { Statement } from './statement.ts';

export const BOOTSTRAP = 'user:admin';

/**
 * The maximum number of UTF-8 bytes of policies that one request reads: of all teams of the caller together, and of each other
 * policy.
 */
export const READ_MAX_BYTES = 64 * 1024;
/**
 * The maximum number of bytes of a team's policy that is read together with the team. Longer policies are read by a second
 * statement.
 */
const INLINE_MAX_BYTES = 4 * 1024;
/**
 * The maximum numbers of organizations and teams that are read for one subject. Other limits keep a subject from having so
 * many.
 */
const MEMBERSHIPS_MAX = 1000;
const TEAMS_MAX = 3000;
/**
 * The maximum number of bytes of the policies in a request about many repositories. They are read in the order of the request.
 */
const REPOSITORIES_MAX_BYTES = 128 * 1024;
/** Up to this many repositories, their policies always fit into one request, so their sizes are not added up. */
const FEW = 4;
/**
 * The factor by which the limits above may grow at most in a request about many subjects. They grow with the number of
 * subjects.
 */
const SUBJECTS_READ = 16;

/**
 * Returns the SQL that loads one row for each of the following:
 * - a subject of :subjects (or the owner of key :key), with its account, its policy, its organizations,
 *   key :key and login :login;
 * - each team of the subject, with the team's policy if it has up to :inline bytes;
 * - the policy of each repository in :repositories.
 *
 * The rows are not combined into one JSON value, which could be larger than D1 returns. D1 allows up to
 * five SELECTs in a compound.
 * @param teamsMax the maximum number of rows for teams. It is a literal in the SQL, because SQLite compiles a statement again
 *   for each value of a bound LIMIT, and that takes ten times as long as running the statement
 */
const loadStatement = (teamsMax: number, repositoryStatements: string) => `WITH who(n, subject) AS NOT MATERIALIZED (
    SELECT key, coalesce(value, (SELECT owner FROM access_keys WHERE id = :key)) FROM json_each(:subjects))
  SELECT n, 'subject' AS kind, subject, 0 AS bytes, json_object(
    'account', json((SELECT json_object(
        'subject', a.subject, 'administrator', administrator, 'disabled', disabled, 'epoch', epoch)
      FROM accounts a WHERE a.subject = who.subject)),
    'policy', json((SELECT json_object('bytes', octet_length(statements), 'data', ${readable('statements')})
      FROM policies p WHERE p.subject = who.subject)),
    'key', json((SELECT json_object('id', id, 'owner', owner,
        'statements', json(iif(statements IS NULL, NULL, coalesce(${readable('statements')}, '[]'))),
        'expires_at', expires_at, 'ended', expires_at <= unixepoch() OR revoked_at IS NOT NULL,
        'unused', last_used_day IS NOT unixepoch() / 86400)
      FROM access_keys WHERE id = :key)),
    'members', json((SELECT json_group_array(json_object('organization', organization, 'role', role))
      FROM (SELECT organization, role FROM members WHERE user = who.subject LIMIT ${MEMBERSHIPS_MAX}))),
    'login', json((SELECT json_object('id', id, 'generation', generation, 'ended', ended OR expires_at <= unixepoch())
      FROM logins WHERE id = :login))) AS data
  FROM who
  UNION ALL SELECT * FROM (
    SELECT n, 'team', team, octet_length(statements), ${readable('statements', ':inline')}
    FROM who JOIN team_members ON user = who.subject LEFT JOIN policies ON policies.subject = team LIMIT ${teamsMax})
  UNION ALL ${repositoryStatements}`;

const OF_REPOSITORIES = `SELECT 0, 'repository', subject, octet_length(statements), ${readable('statements')}
    FROM policies WHERE subject IN (SELECT 'repository:' || value FROM json_each(:repositories))`;

/** SQL as `OF_REPOSITORIES`, but in the order of the request, and without the text of policies beyond the limit. */
const OF_MANY_REPOSITORIES = `SELECT 0, 'repository', subject, bytes,
      iif(total <= ${REPOSITORIES_MAX_BYTES}, ${readable('statements')}, NULL)
    FROM (SELECT subject, statements, octet_length(statements) AS bytes,
        sum(octet_length(statements)) OVER (ORDER BY r.key) AS total
      FROM json_each(:repositories) r CROSS JOIN policies ON subject = 'repository:' || r.value)`;

const LOAD = loadStatement(TEAMS_MAX, OF_REPOSITORIES);

/** Returns an SQL expression: the text of a column, or NULL if it is longer than `most` bytes. */
export function readable(column: string, most: number | string = READ_MAX_BYTES): string {
  return `iif(octet_length(${column}) <= ${most}, ${column}, NULL)`;
}

/** The ids of the access key and of the login in the credential. */
interface CredentialIds {
  key: string | null;
  login: string | null;
}

/** The parsed `data` of a row of kind `subject`. */
type SubjectData = Pick<LoadedRights, 'account' | 'key' | 'members' | 'login'> & {
  policy: { bytes: number; data: string | null } | null;
};

/**
 * Loads the rights of subjects. Takes one D1 call, or two if teams have long policies.
 * @param joined reads of other modules that become part of the first call
 * @param circumstances those of the request, if the subject is its caller. Statements whose conditions do not hold are left out
 */
export async function loadSubjects(
  env: Database,
  subjects: readonly (string | null)[],
  repositories: readonly string[],
  { key, login }: CredentialIds,
  joined: JoinedReads | null = null,
  circumstances: Circumstances | null = null,
): Promise<LoadedRights[]> {
  const share = Math.min(subjects.length, SUBJECTS_READ);
  // For several subjects no team's policy is read with the team. `readTeams` reads each policy only once, although several
  // subjects may be in the team.
  const inline = subjects.length > 1 ? 0 : INLINE_MAX_BYTES;
  const isBounded = subjects.length === 1 && repositories.length > FEW;
  const sql =
    subjects.length > 1 || isBounded
      ? loadStatement(TEAMS_MAX * share, isBounded ? OF_MANY_REPOSITORIES : OF_REPOSITORIES)
      : LOAD;
  const results = await rowsWith(env, prepare(env, sql, { subjects, key, repositories, login, inline }), joined);
  const teams = results.filter(({ kind }) => kind === 'team');
  const read = await readTeams(env, teams, repositories, READ_MAX_BYTES * share);
  const common = results.filter(({ kind }) => kind !== 'subject' && kind !== 'team');
  const all = results
    .filter(({ kind }) => kind === 'subject')
    .map((row) => {
      const own = teams.filter(({ n }) => n === row.n).map((team) => ({ ...team, data: read.get(team.subject ?? '') ?? null }));
      const loaded = loadedOf(row, [...own, ...common]);
      return teams.length < TEAMS_MAX * share ? loaded : { ...loaded, unread: [...loaded.unread, '*'] };
    });
  const [loaded] = all;
  if (loaded?.account && sql === LOAD && !teams.some(isLong)) {
    rememberRights(env, { subject: loaded.account.subject, key, login, repositories }, { rows: results, loaded });
  }
  return all.map((one) => inCircumstances(one, circumstances));
}

/** True if the policy of the team takes a second statement. */
function isLong({ bytes, data }: Row): boolean {
  return bytes !== null && data === null;
}

/**
 * Returns the rights of an account as this isolate remembers them, and the assumption that they have not changed. Returns
 * `null` if they are not remembered.
 */
export function knownRights(
  env: Database,
  subject: string,
  repositories: readonly string[],
  { key, login }: CredentialIds,
): { loaded: LoadedRights; assumption: Assumption } | null {
  const parameters = { subjects: [subject], key, repositories, login, inline: INLINE_MAX_BYTES };
  return recallRights(env, { subject, key, login, repositories }, { sql: LOAD, parameters });
}

async function rowsWith(env: Database, statement: D1PreparedStatement, joined: JoinedReads | null): Promise<Row[]> {
  if (joined === null) return (await statement.all<Row>()).results;
  const batch = newBatch(env);
  const rows = batch.add<Row>(statement);
  joined.addTo(batch);
  const results = await batch.commit();
  joined.take(results);
  return results.of(rows);
}

function loadedOf({ n, subject, data }: Row, rows: readonly Row[]): LoadedRights {
  const { policy, ...known } = JSON.parse(data ?? '{}') as SubjectData;
  const policies = [
    ...(policy ? [{ ...policy, n, kind: 'subject', subject }] : []),
    ...rows.filter(({ bytes }) => bytes !== null),
  ];
  const unread = policies.flatMap((row) => (row.data === null ? [row.subject ?? ''] : []));
  return {
    ...NOTHING_LOADED,
    ...known,
    teams: rows.flatMap(({ kind, subject: team }) => (kind === 'team' ? [team ?? ''] : [])),
    policies: policies.flatMap((row) =>
      row.data === null ? [] : [{ subject: row.subject ?? '', statements: JSON.parse(row.data) as Statement[] }],
    ),
    unread: known.members.length < MEMBERSHIPS_MAX ? unread : [...unread, '*'],
  };
}

/**
 * Reads the policies of teams, up to `most` bytes together. Policies in the organizations of the requested repositories come
 * first, then those of the organizations whose policies have the fewest bytes. So long policies of one organization do not keep
 * out short policies of others.
 */
async function readTeams(
  env: Database,
  rows: readonly Row[],
  repositories: readonly string[],
  most: number,
): Promise<Map<string, string>> {
  if (rows.length === 0) return new Map();
  const teams = new Map(
    rows.flatMap((row) => (row.bytes === null ? [] : [[row.subject ?? '', row as Row & { bytes: number }]])),
  );
  const sizes = new Map<string, number>();
  for (const { subject, bytes } of teams.values()) {
    const organization = organizationOf(subject ?? '');
    sizes.set(organization, (sizes.get(organization) ?? 0) + bytes);
  }
  const asked = new Set(repositories.map(namespaceOf));
  const order = [...sizes].sort(([a, less], [b, more]) => Number(asked.has(b)) - Number(asked.has(a)) || less - more);
  const chosen = new Set<string>();
  let room = most;
  for (const [organization, bytes] of order) {
    if (bytes > room) continue;
    room -= bytes;
    chosen.add(organization);
  }
  const wanted = [...teams.values()].filter(({ subject }) => chosen.has(organizationOf(subject ?? '')));
  const long = wanted.flatMap(({ subject, data }) => (data === null ? [subject] : []));
  const inline = wanted.flatMap(({ subject, data }): [string, string][] => (data === null ? [] : [[subject ?? '', data]]));
  if (long.length === 0) return new Map(inline);
  const { results } = await prepare(
    env,
    `SELECT subject, ${readable('statements')} AS statements FROM policies
     WHERE subject IN (SELECT value FROM json_each(:long))`,
    { long },
  ).all<{ subject: string; statements: string | null }>();
  const asText = results.flatMap((row): [string, string][] => (row.statements === null ? [] : [[row.subject, row.statements]]));
  return new Map([...inline, ...asText]);
}

/** Creates the account of the first administrator if it does not exist. */
export async function createBootstrapAdministrator(env: Database): Promise<void> {
  await prepare(
    env,
    `INSERT INTO accounts (subject, likeness, administrator, created_at) VALUES (:subject, :skeleton, 1, unixepoch())
     ON CONFLICT DO NOTHING`,
    { subject: BOOTSTRAP, skeleton: confusableSkeleton(nameOf(BOOTSTRAP)) },
  ).run();
}

/** Records that a key was used today. Done after the response, once for each key and day. */
export async function noteUse(env: Database, key: string): Promise<void> {
  await prepare(env, 'UPDATE access_keys SET last_used_day = unixepoch() / 86400 WHERE id = :key', { key }).run();
}
