/**
 * The names in policies of repositories. What is allowed to a name is bound to the account that has it when the policy is saved:
 * a name that nobody has is stored with a mark, which no caller's principals bear, so that whoever takes the name later gets
 * nothing. What is denied to a name is denied to whoever has it. A request that is judged pays nothing for this.
 */
import type { Database } from './directory.ts';
import { EVERYONE, nameOf, organizationOf } from './names.ts';
import type { Statement } from './statement.ts';
import { DENIES, PULL_BITS } from './visibility.ts';
import { DELETED, type Span } from './within.ts';

const MARK = '?';

/** As stored where nobody has the name. */
export function unbound(principal: string): string {
  return `${MARK}${principal}`;
}

/** As people wrote it. */
export function shownPrincipal(principal: string): string {
  return principal.startsWith(MARK) ? principal.slice(MARK.length) : principal;
}

export function withShownPrincipals<T extends Statement>(statement: T): T {
  return statement.principals ? { ...statement, principals: statement.principals.map(shownPrincipal) } : statement;
}

/** SQL: statements (JSON) as people wrote them. Nothing else in them may begin with the mark. */
export function withoutMarks(statements: string): string {
  return `replace(${statements}, '"${MARK}', '"')`;
}

/** SQL: somebody has this name. */
const isThere = (principal: string) => `(${principal} = '${EVERYONE}'
  OR EXISTS (SELECT 1 FROM accounts WHERE subject = ${principal} AND disabled <> ${DELETED})
  OR EXISTS (SELECT 1 FROM teams WHERE subject = ${principal}))`;

/** SQL: these statements (JSON), with the names marked in what is allowed that nobody has. A mark that is there stays. */
export function boundStatements(statements: string): string {
  const marked = `iif(p.value LIKE '${MARK}%' OR ${isThere('p.value')}, p.value, '${MARK}' || p.value)`;
  return `(SELECT json_group_array(json(CASE WHEN s.value ->> 'effect' = 'allow' AND json_type(s.value, '$.principals') = 'array'
      THEN json_set(s.value, '$.principals', json((SELECT json_group_array(${marked}) FROM json_each(s.value, '$.principals') p)))
      ELSE s.value END)) FROM json_each(${statements}) s)`;
}

/** For a batch after which the policy of a repository says something else: whom it names now, and what it says to them about pulling. */
export function indexNames(env: Pick<Database, 'DB'>, repository: string): D1PreparedStatement[] {
  const named = `FROM policies, json_each(statements) s, json_each(s.value, '$.principals') p
    WHERE subject = 'repository:' || ?1 AND p.value NOT LIKE '${MARK}%'`;
  return [
    env.DB.prepare(`DELETE FROM policy_principals WHERE repository = ?1 AND principal NOT IN (SELECT p.value ${named})`).bind(
      repository,
    ),
    env.DB.prepare(
      `INSERT INTO policy_principals (principal, repository, pull) SELECT p.value, ?1, ${PULL_BITS} ${named} GROUP BY p.value
       ON CONFLICT DO UPDATE SET pull = excluded.pull WHERE pull IS NOT excluded.pull`,
    ).bind(repository),
  ];
}

/** Repositories that an answer or an event lists by name; all are counted. */
const LISTED_MAX = 100;

/** SQL: repositories between `low` and `high` whose policies allow something to a principal between `from` and `before`. */
function granting(from: string, before: string, low: string, high: string): string {
  return `SELECT DISTINCT n.repository FROM policy_principals n JOIN policies p ON p.subject = 'repository:' || n.repository
    WHERE n.principal >= ${from} AND n.principal < ${before} AND n.repository >= ${low} AND n.repository < ${high}
      AND EXISTS (SELECT 1 FROM json_each(p.statements) s, json_each(s.value, '$.principals') q
        WHERE s.value ->> 'effect' = 'allow' AND q.value >= ${from} AND q.value < ${before})`;
}

const GRANTING = granting('?1', '?2', '?3', '?4');

/** SQL, for an event: the first repositories of an organization that allow something to one subject by name. */
export function listOfGrants(subject: string, organization: string): string {
  const repositories = granting(subject, `${subject} || '!'`, `${organization} || '/'`, `${organization} || '0'`);
  return `(SELECT json_group_array(repository) FROM (${repositories} ORDER BY 1 LIMIT ${LISTED_MAX}))`;
}

/** SQL: statements without what they allow to principals between ?1 and ?2; what they deny stays. */
const WITHOUT = `(SELECT json_group_array(json(CASE WHEN s.value ->> 'effect' = 'allow' AND json_type(s.value, '$.principals') = 'array'
    THEN json_set(s.value, '$.principals', json((SELECT json_group_array(q.value) FROM json_each(s.value, '$.principals') q
      WHERE NOT (q.value >= ?1 AND q.value < ?2))))
    ELSE s.value END)) FROM json_each(statements) s
  WHERE s.value ->> 'effect' = 'deny' OR json_type(s.value, '$.principals') IS NOT 'array'
    OR EXISTS (SELECT 1 FROM json_each(s.value, '$.principals') q WHERE NOT (q.value >= ?1 AND q.value < ?2)))`;

/** Which repositories of an organization gave something to somebody. */
export interface Grants {
  /** In all. */
  count: number;
  /** The first of them. */
  repositories: string[];
}

/** For a batch, before `removeGrants`: which there are. `grantsIn` reads its result. */
export function selectGrants(env: Database, principals: Span, organization: string): D1PreparedStatement {
  return env.DB.prepare(
    `WITH found AS MATERIALIZED (${GRANTING})
     SELECT (SELECT count(*) FROM found) AS count,
       (SELECT json_group_array(repository) FROM (SELECT repository FROM found ORDER BY repository LIMIT ${LISTED_MAX})) AS names`,
  ).bind(...grantParameters(principals, organization));
}

export function grantsIn(result: D1Result | undefined): Grants {
  const row = result?.results[0] as { count: number; names: string } | undefined;
  return row ? { count: row.count, repositories: JSON.parse(row.names) as string[] } : { count: 0, repositories: [] };
}

/** For the batch that takes somebody out of an organization: its repositories give them nothing by name any more, the deleted ones included. */
export function removeGrants(env: Database, principals: Span, organization: string): D1PreparedStatement[] {
  const parameters = grantParameters(principals, organization);
  return [
    env.DB.prepare(
      `UPDATE policies SET statements = ${WITHOUT}, version = version + 1
       WHERE subject IN (SELECT 'repository:' || repository FROM (${GRANTING}))
         OR subject >= 'trash:' AND subject < 'trash;' AND repository >= ?3 AND repository < ?4
           AND EXISTS (SELECT 1 FROM json_each(statements) s, json_each(s.value, '$.principals') q WHERE q.value >= ?1 AND q.value < ?2)`,
    ).bind(...parameters),
    env.DB.prepare(
      `DELETE FROM policy_principals WHERE principal >= ?1 AND principal < ?2 AND repository >= ?3 AND repository < ?4
         AND NOT EXISTS (SELECT 1 FROM policies p, json_each(p.statements) s, json_each(s.value, '$.principals') q
           WHERE p.subject = 'repository:' || policy_principals.repository AND q.value = policy_principals.principal)`,
    ).bind(...parameters),
    // Who is named still is only denied something.
    env.DB.prepare(
      `UPDATE policy_principals SET pull = pull & ${DENIES}
       WHERE principal >= ?1 AND principal < ?2 AND repository >= ?3 AND repository < ?4`,
    ).bind(...parameters),
  ];
}

function grantParameters({ from, before }: Span, organization: string): string[] {
  return [from, before, `${organization}/`, `${organization}0`];
}

/** Where a user is still named, once they are disabled: nothing of it is taken away, as they may be enabled again. */
export async function grantsOf(env: Database, subject: string): Promise<Grants> {
  const { results } = await env.DB.prepare(
    'SELECT repository, count(*) OVER () AS count FROM policy_principals WHERE principal = ?1 ORDER BY repository LIMIT ?2',
  )
    .bind(subject, LISTED_MAX)
    .all<{ repository: string; count: number }>();
  return { count: results[0]?.count ?? 0, repositories: results.map(({ repository }) => repository) };
}

/** Whoever is told, as far as they may know of people: `viewerOf` says that. Of a narrowed credential it is nobody. */
interface Asker {
  administrator: boolean;
  subject: string;
  owns: readonly string[];
  belongsTo: readonly string[];
}

interface Named {
  /** As stored. */
  principal: string;
  there: number;
  disabled: number;
  /** The asker and this user belong to one organization. */
  colleague: number;
}

/**
 * Whom statements name: those in ?1 (JSON), or of the policy of ?2 where that is NULL. ?3: organizations of whoever asks.
 */
export function selectNames(
  env: Database,
  { statements, subject }: { statements: readonly Statement[] | null; subject: string },
  asker: Asker,
): D1PreparedStatement {
  return env.DB.prepare(
    `SELECT principal, ${isThere('name')} AS there,
       EXISTS (SELECT 1 FROM accounts WHERE subject = name AND disabled = 1) AS disabled,
       EXISTS (SELECT 1 FROM members WHERE user = name AND organization IN (SELECT value FROM json_each(?3))) AS colleague
     FROM (SELECT DISTINCT p.value AS principal, ltrim(p.value, '${MARK}') AS name
       FROM json_each(coalesce(?1, (SELECT statements FROM policies WHERE subject = ?2))) s, json_each(s.value, '$.principals') p)
     WHERE principal <> '${EVERYONE}' ORDER BY name`,
  ).bind(statements && JSON.stringify(statements), subject, JSON.stringify(asker.belongsTo));
}

/** What there is to say of names. To whoever may not know of somebody, one that is there and one that is not sound the same. */
export function warningsOf(result: D1Result | undefined, asker: Asker): string[] {
  return ((result?.results ?? []) as unknown as Named[]).flatMap((named) => warningOf(named, asker) ?? []);
}

function warningOf({ principal, there, disabled, colleague }: Named, asker: Asker): string | null {
  const name = shownPrincipal(principal);
  if (!mayKnow(asker, name, colleague === 1)) {
    return `${name} is nobody of an organization of yours: if there is nobody of this name now, nothing is allowed to whoever takes it later`;
  }
  if (!there) return `${name} is not there: nothing is allowed to whoever takes this name later`;
  if (principal !== name)
    return `${name} was not there when this was saved, and is allowed nothing by it: save the policy again to mean them`;
  return disabled ? `${name} is disabled` : null;
}

/** Users know themselves and their colleagues, members the teams of their organization, owners its robots. */
function mayKnow({ administrator, subject, belongsTo, owns }: Asker, name: string, colleague: boolean): boolean {
  if (administrator || name === subject) return true;
  if (name.startsWith('user:')) return colleague;
  if (name.startsWith('organization:')) return belongsTo.includes(nameOf(name));
  return (name.startsWith('team:') ? belongsTo : owns).includes(organizationOf(name));
}
