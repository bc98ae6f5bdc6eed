/** What the database knows of somebody, read with one statement as far as one request may, and the account that is there from the beginning. */
import type { Env } from '../env.ts';
import { confusableSkeleton, nameOf, namespaceOf, organizationOf } from './names.ts';
import type { Statement } from './statement.ts';

export type Database = Pick<Env, 'DB' | 'EVENTS'>;

export const BOOTSTRAP = 'user:admin';

/** UTF-8 bytes of policies that one request reads of the subject that it is about and its teams, and of each repository. */
export const READ_MAX_BYTES = 64 * 1024;
/** Bytes of a team's policy that come with the team; the text of a longer one is asked for. */
const INLINE_MAX_BYTES = 4 * 1024;
/** Organizations and teams of one subject that are read: more than can be saved. */
const MEMBERSHIPS_MAX = 1000;
const TEAMS_MAX = 3000;
/** Bytes of policies of repositories that a request reads which names many: as many of the first ones as fit. */
const REPOSITORIES_MAX_BYTES = 128 * 1024;
/** So many fit whatever they say, and are not added up. */
const FEW = 4;
/** Subjects of one question that each of these limits counts for. */
const SUBJECTS_READ = 16;

/**
 * One row each: a subject of ?1 (or the owner of key ?2) with its account, policy, organizations, key and login ?4; a team of it
 * with its policy of up to ?5 bytes; a policy of repositories ?3. Rows, because one JSON value of everything can outgrow what a
 * database answers. D1 compounds no more than five selects.
 * @param teamsMax rows of teams. A number and no parameter: SQLite compiles a statement again for each value of a limit, which
 * takes ten times as long as running it.
 */
const loadStatement = (teamsMax: number, repositoryStatements: string) => `WITH who(n, subject) AS NOT MATERIALIZED (
    SELECT key, coalesce(value, (SELECT owner FROM access_keys WHERE id = ?2)) FROM json_each(?1))
  SELECT n, 'subject' AS kind, subject, 0 AS bytes, json_object(
    'account', json((SELECT json_object('subject', a.subject, 'administrator', administrator, 'disabled', disabled, 'epoch', epoch)
      FROM accounts a WHERE a.subject = who.subject)),
    'policy', json((SELECT json_object('bytes', octet_length(statements), 'data', ${readable('statements')})
      FROM policies p WHERE p.subject = who.subject)),
    'key', json((SELECT json_object('id', id, 'owner', owner,
        'statements', json(iif(statements IS NULL, NULL, coalesce(${readable('statements')}, '[]'))),
        'expires_at', expires_at, 'ended', expires_at <= unixepoch() OR revoked_at IS NOT NULL,
        'unused', last_used_day IS NOT unixepoch() / 86400)
      FROM access_keys WHERE id = ?2)),
    'members', json((SELECT json_group_array(json_object('organization', organization, 'role', role))
      FROM (SELECT organization, role FROM members WHERE user = who.subject LIMIT ${MEMBERSHIPS_MAX}))),
    'login', json((SELECT json_object('id', id, 'generation', generation, 'ended', ended OR expires_at <= unixepoch())
      FROM logins WHERE id = ?4))) AS data
  FROM who
  UNION ALL SELECT * FROM (
    SELECT n, 'team', team, octet_length(statements), ${readable('statements', '?5')}
    FROM who JOIN team_members ON user = who.subject LEFT JOIN policies ON policies.subject = team LIMIT ${teamsMax})
  UNION ALL ${repositoryStatements}`;

const OF_REPOSITORIES = `SELECT 0, 'repository', subject, octet_length(statements), ${readable('statements')}
    FROM policies WHERE subject IN (SELECT 'repository:' || value FROM json_each(?3))`;

/** The same, in their order, and none beyond what one request reads. */
const OF_MANY_REPOSITORIES = `SELECT 0, 'repository', subject, bytes, iif(total <= ${REPOSITORIES_MAX_BYTES}, ${readable('statements')}, NULL)
    FROM (SELECT subject, statements, octet_length(statements) AS bytes, sum(octet_length(statements)) OVER (ORDER BY r.key) AS total
      FROM json_each(?3) r CROSS JOIN policies ON subject = 'repository:' || r.value)`;

/** SQL: a column's text where one request may read it, or NULL. */
export function readable(column: string, most: number | string = READ_MAX_BYTES): string {
  return `iif(octet_length(${column}) <= ${most}, ${column}, NULL)`;
}

export interface Loaded {
  account: { subject: string; administrator: number; disabled: number; epoch: number } | null;
  key: {
    id: string;
    owner: string;
    statements: Statement[] | null;
    expires_at: number;
    ended: number;
    unused: number;
  } | null;
  members: { organization: string; role: 'owner' | 'member' }[];
  teams: string[];
  policies: { subject: string; statements: Statement[] }[];
  /** Whose policies are larger than one request reads, or all that lies beyond: `*`. Each may deny anything that it can be about. */
  unread: string[];
  login: { id: string; generation: number; ended: number } | null;
}

export const NOTHING: Loaded = {
  account: null,
  key: null,
  members: [],
  teams: [],
  policies: [],
  unread: [],
  login: null,
};

/** What else is looked up, by what the caller showed. */
export interface Further {
  key: string | null;
  login: string | null;
}

interface Row {
  n: number;
  kind: 'subject' | 'team' | 'repository';
  subject: string | null;
  /** Of a policy; `null`: none was saved. */
  bytes: number | null;
  data: string | null;
}

/** A row of kind `subject`, as JSON. */
type SubjectData = Pick<Loaded, 'account' | 'key' | 'members' | 'login'> & {
  policy: { bytes: number; data: string | null } | null;
};

/** One statement; a second one for longer policies of teams. */
export async function loadSubjects(
  env: Database,
  subjects: readonly (string | null)[],
  repositories: readonly string[],
  { key, login }: Further,
): Promise<Loaded[]> {
  // Questions about many people are asked by whoever administers something, and answered in parts.
  const share = Math.min(subjects.length, SUBJECTS_READ);
  // The policy of a team that many are in is read once, by `readTeams`.
  const inline = subjects.length > 1 ? 0 : INLINE_MAX_BYTES;
  const isBounded = subjects.length === 1 && repositories.length > FEW;
  const { results } = await env.DB.prepare(loadStatement(TEAMS_MAX * share, isBounded ? OF_MANY_REPOSITORIES : OF_REPOSITORIES))
    .bind(JSON.stringify(subjects), key, JSON.stringify(repositories), login, inline)
    .all<Row>();
  const teams = results.filter(({ kind }) => kind === 'team');
  const read = await readTeams(env, teams, repositories, READ_MAX_BYTES * share);
  const common = results.filter(({ kind }) => kind !== 'subject' && kind !== 'team');
  return results
    .filter(({ kind }) => kind === 'subject')
    .map((row) => {
      const own = teams.filter(({ n }) => n === row.n).map((team) => ({ ...team, data: read.get(team.subject ?? '') ?? null }));
      const loaded = loadedOf(row, [...own, ...common]);
      return teams.length < TEAMS_MAX * share ? loaded : { ...loaded, unread: [...loaded.unread, '*'] };
    });
}

function loadedOf({ n, subject, data }: Row, rows: readonly Row[]): Loaded {
  const { policy, ...known } = JSON.parse(data ?? '{}') as SubjectData;
  const policies = [
    ...(policy ? [{ ...policy, n, kind: 'subject', subject }] : []),
    ...rows.filter(({ bytes }) => bytes !== null),
  ];
  const unread = policies.flatMap((row) => (row.data === null ? [row.subject ?? ''] : []));
  return {
    ...NOTHING,
    ...known,
    teams: rows.flatMap(({ kind, subject: team }) => (kind === 'team' ? [team ?? ''] : [])),
    policies: policies.flatMap((row) =>
      row.data === null ? [] : [{ subject: row.subject ?? '', statements: JSON.parse(row.data) as Statement[] }],
    ),
    unread: known.members.length < MEMBERSHIPS_MAX ? unread : [...unread, '*'],
  };
}

/**
 * The policies of teams, as many as one request reads: those of organizations that the request is about, then of those that have
 * least, so that nobody's large policies keep small ones of others from being read.
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
  const { results } = await env.DB.prepare(
    `SELECT subject, ${readable('statements')} AS statements FROM policies WHERE subject IN (SELECT value FROM json_each(?1))`,
  )
    .bind(JSON.stringify(long))
    .all<{ subject: string; statements: string | null }>();
  const asText = results.flatMap((row): [string, string][] => (row.statements === null ? [] : [[row.subject, row.statements]]));
  return new Map([...inline, ...asText]);
}

/** Once: where two come at the same time, one row is made, and one that is there is left as it is. */
export async function createBootstrapAdministrator(env: Database): Promise<void> {
  await env.DB.prepare(
    `INSERT INTO accounts (subject, likeness, administrator, created_at) VALUES (?1, ?2, 1, unixepoch()) ON CONFLICT DO NOTHING`,
  )
    .bind(BOOTSTRAP, confusableSkeleton(nameOf(BOOTSTRAP)))
    .run();
}

/** Writes down that a key was used today: one write a key and day. For after the answer. */
export async function noteUse(env: Database, key: string): Promise<void> {
  await env.DB.prepare('UPDATE access_keys SET last_used_day = unixepoch() / 86400 WHERE id = ?1').bind(key).run();
}
