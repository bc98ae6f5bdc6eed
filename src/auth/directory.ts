/** What the database knows of somebody, read with one statement, and the account that is there from the beginning. */
import type { Env } from '../env.ts';
import { likenessOf, nameOf } from './names.ts';
import type { TrustRule } from './outside/oidc.ts';
import type { Statement } from './statement.ts';

export type Database = Pick<Env, 'DB' | 'EVENTS'>;

export const BOOTSTRAP = 'user:admin';

const RULE = `json_object('subject', subject, 'issuer', issuer, 'audience', audience, 'claims', json(claims), 'statements', json(statements))`;

/**
 * A row for each of the subjects ?1, or for the owner of key ?2: everything about them, the policies of repositories ?3, trust
 * rules of issuer ?4 or named in ?5, and login ?6. Columns, as D1 compounds no more than five selects.
 */
const LOAD = `WITH who(subject) AS (
    SELECT coalesce(value, (SELECT owner FROM access_keys WHERE id = ?2)) FROM json_each(?1))
  SELECT
    (SELECT json_object('subject', a.subject, 'administrator', administrator, 'disabled', disabled, 'epoch', epoch)
      FROM accounts a WHERE a.subject = who.subject) AS account,
    (SELECT json_object('id', id, 'owner', owner, 'statements', json(statements), 'expires_at', expires_at,
        'ended', expires_at <= unixepoch() OR revoked_at IS NOT NULL, 'unused', last_used_day IS NOT unixepoch() / 86400)
      FROM access_keys WHERE id = ?2) AS key,
    (SELECT json_group_array(json_object('organization', organization, 'role', role)) FROM members WHERE user = who.subject)
      AS members,
    (SELECT json_group_array(team) FROM team_members WHERE user = who.subject) AS teams,
    (SELECT json_group_array(json_object('subject', p.subject, 'statements', json(statements))) FROM policies p
      WHERE p.subject IN (SELECT who.subject UNION ALL SELECT team FROM team_members WHERE user = who.subject
        UNION ALL SELECT 'repository:' || value FROM json_each(?3))) AS policies,
    (SELECT json_group_array(${RULE}) FROM trust_rules WHERE issuer = ?4) AS issued,
    (SELECT json_group_array(${RULE}) FROM trust_rules WHERE subject IN (SELECT value FROM json_each(?5))) AS named,
    (SELECT json_object('id', id, 'generation', generation, 'ended', ended OR expires_at <= unixepoch())
      FROM logins WHERE id = ?6) AS login
  FROM who`;

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
  issued: TrustRule[];
  named: TrustRule[];
  login: { id: string; generation: number; ended: number } | null;
}

export const NOTHING: Loaded = {
  account: null,
  key: null,
  members: [],
  teams: [],
  policies: [],
  issued: [],
  named: [],
  login: null,
};

/** What else is looked up, by what the caller showed. */
export interface Further {
  key: string | null;
  issuer: string | null;
  rules: string[];
  login: string | null;
}

export async function loadSubjects(
  env: Database,
  subjects: readonly (string | null)[],
  repositories: readonly string[],
  { key, issuer, rules, login }: Further,
): Promise<Loaded[]> {
  const { results } = await env.DB.prepare(LOAD)
    .bind(JSON.stringify(subjects), key, JSON.stringify(repositories), issuer, JSON.stringify(rules), login)
    .all<Record<keyof Loaded, string | null>>();
  return results.map((row) => {
    const columns = Object.entries(row).map(([name, json]) => [name, json === null ? null : JSON.parse(json)]);
    return { ...NOTHING, ...Object.fromEntries(columns) } as Loaded;
  });
}

/** Once: where two come at the same time, one row is made, and one that is there is left as it is. */
export async function createBootstrapAdministrator(env: Database): Promise<void> {
  await env.DB.prepare(
    `INSERT INTO accounts (subject, likeness, administrator, created_at) VALUES (?1, ?2, 1, unixepoch()) ON CONFLICT DO NOTHING`,
  )
    .bind(BOOTSTRAP, likenessOf(nameOf(BOOTSTRAP)))
    .run();
}

/** Writes down that a key was used today: one write a key and day. For after the answer. */
export async function noteUse(env: Database, key: string): Promise<void> {
  await env.DB.prepare('UPDATE access_keys SET last_used_day = unixepoch() / 86400 WHERE id = ?1').bind(key).run();
}
