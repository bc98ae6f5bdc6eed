/**
 * The names in the policies of repositories. An allow statement applies only to accounts that exist when the policy is saved. A
 * name that nobody has is stored with a mark, and a marked name matches no principal. So somebody who takes the name later does
 * not get the rights. A deny statement applies to everybody who has the name, now or later. The policy engine does not know
 * about marks. Policies with likely mistakes are saved, and the author gets warnings.
 */
import type { Batch, Database, Handle } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { EVERYONE, nameOf, organizationOf } from '../../vocabulary/names.ts';
import type { Statement } from '../statement.ts';
import { DENIES, DEPENDS, PULL_BITS } from '../visibility.ts';
import { DELETED, type SubjectRange } from '../within.ts';

const MARK = '?';

/** Returns a principal with the mark. A name that nobody has is stored in this form. */
export function unbound(principal: string): string {
  return `${MARK}${principal}`;
}

/** Returns a principal without the mark, as the author of the policy wrote it. */
export function shownPrincipal(principal: string): string {
  return principal.startsWith(MARK) ? principal.slice(MARK.length) : principal;
}

export function withShownPrincipals<T extends Statement>(statement: T): T {
  const { principals, except } = statement;
  if (!principals) return statement;
  return {
    ...statement,
    principals: principals.map(shownPrincipal),
    ...(except ? { except: except.map(shownPrincipal) } : {}),
  };
}

/** Returns an SQL expression: the statements (JSON) without marks. No other text in the statements may begin with the mark. */
export function withoutMarks(statements: string): string {
  return `replace(${statements}, '"${MARK}', '"')`;
}

/** Returns an SQL condition: an account or a team has this name. */
const principalExists = (principal: string) => `(${principal} = '${EVERYONE}'
  OR EXISTS (SELECT 1 FROM accounts WHERE subject = ${principal} AND disabled <> ${DELETED})
  OR EXISTS (SELECT 1 FROM teams WHERE subject = ${principal}))`;

/**
 * Returns an SQL expression: the statements (JSON) with a mark at each name that nobody has: in allow statements, and in the
 * exceptions of deny statements. An existing mark is kept.
 */
export function boundStatements(statements: string): string {
  const bound = `iif(p.value LIKE '${MARK}%' OR ${principalExists('p.value')}, p.value, '${MARK}' || p.value)`;
  const list = (field: string) =>
    `json_set(s.value, '$.${field}', json((SELECT json_group_array(${bound}) FROM json_each(s.value, '$.${field}') p)))`;
  return `(SELECT json_group_array(json(CASE
    WHEN s.value ->> 'effect' = 'allow' AND json_type(s.value, '$.principals') = 'array' THEN ${list('principals')}
    WHEN json_type(s.value, '$.except') = 'array' THEN ${list('except')}
    ELSE s.value END)) FROM json_each(${statements}) s)`;
}

/**
 * Adds statements to the batch that update the index of the principals in a repository's policy. They must run after the policy
 * was written.
 */
export function indexNames(batch: Batch, repository: string): void {
  const named = `FROM policies, json_each(statements) s, json_each(s.value, '$.principals') p
    WHERE subject = 'repository:' || :repository AND p.value NOT LIKE '${MARK}%'`;
  batch.run(`DELETE FROM policy_principals WHERE repository = :repository AND principal NOT IN (SELECT p.value ${named})`, {
    repository,
  });
  batch.run(
    `INSERT INTO policy_principals (principal, repository, pull) SELECT p.value, :repository, ${PULL_BITS} ${named}
     GROUP BY p.value ON CONFLICT DO UPDATE SET pull = excluded.pull WHERE pull IS NOT excluded.pull`,
    { repository },
  );
}

/** The maximum number of names of repositories in an answer or an event. */
const LISTED_MAX = 100;

/**
 * Returns an SQL query: the repositories from `low` to `high` whose policies allow something to a principal from `from` to
 * `before`. The plus makes SQLite search by the principal, whom few policies name, and not by the repository, because an
 * organization can have thousands.
 */
function allowing(from: string, before: string, low: string, high: string): string {
  return `SELECT DISTINCT n.repository FROM policy_principals n JOIN policies p ON p.subject = 'repository:' || n.repository
    WHERE n.principal >= ${from} AND n.principal < ${before} AND +n.repository >= ${low} AND +n.repository < ${high}
      AND EXISTS (SELECT 1 FROM json_each(p.statements) s, json_each(s.value, '$.principals') q
        WHERE s.value ->> 'effect' = 'allow' AND q.value >= ${from} AND q.value < ${before})`;
}

const ALLOWING = allowing(':from', ':before', ':low', ':high');

/**
 * Returns an SQL expression for an event: the first repositories of an organization whose policies allow something to one
 * subject by name.
 */
export function listOfGrants(subject: string, organization: string): string {
  const repositories = allowing(subject, `${subject} || '!'`, `${organization} || '/'`, `${organization} || '0'`);
  return `(SELECT json_group_array(repository) FROM (${repositories} ORDER BY 1 LIMIT ${LISTED_MAX}))`;
}

/** SQL expression: the statements, without the principals from :from to :before in allow statements. */
const WITHOUT_GRANTS = `(SELECT json_group_array(json(CASE WHEN s.value ->> 'effect' = 'allow'
  AND json_type(s.value, '$.principals') = 'array'
    THEN json_set(s.value, '$.principals', json((SELECT json_group_array(q.value) FROM json_each(s.value, '$.principals') q
      WHERE NOT (q.value >= :from AND q.value < :before))))
  WHEN json_type(s.value, '$.except') = 'array'
    THEN json_set(s.value, '$.except', json((SELECT json_group_array(q.value) FROM json_each(s.value, '$.except') q
      WHERE NOT (q.value >= :from AND q.value < :before))))
    ELSE s.value END)) FROM json_each(statements) s
  WHERE s.value ->> 'effect' = 'deny' OR json_type(s.value, '$.principals') IS NOT 'array'
    OR EXISTS (SELECT 1 FROM json_each(s.value, '$.principals') q WHERE NOT (q.value >= :from AND q.value < :before)))`;

/** The repositories of an organization whose policies name a principal and allow it at least one action. */
export interface Grants {
  count: number;
  /** The first of these repositories, up to `LISTED_MAX`. */
  repositories: string[];
}

interface GrantsRow {
  count: number;
  names: string;
}

/**
 * Adds a query to the batch: which repositories allow something to these principals. `grantsIn` reads the result. It must run
 * before `removeGrants`.
 */
export function queryGrants(batch: Batch, principals: SubjectRange, organization: string): Handle<GrantsRow> {
  return batch.query(
    `WITH found AS MATERIALIZED (${ALLOWING})
     SELECT (SELECT count(*) FROM found) AS count,
       (SELECT json_group_array(repository) FROM (SELECT repository FROM found ORDER BY repository LIMIT ${LISTED_MAX}))
         AS names`,
    { ...principals, ...repositoriesOf(organization) },
  );
}

export function grantsIn(row: GrantsRow | null): Grants {
  return row ? { count: row.count, repositories: JSON.parse(row.names) as string[] } : { count: 0, repositories: [] };
}

/**
 * Adds statements to the batch that remove these principals from the allow statements in the policies of an organization's
 * repositories, including repositories in the trash.
 */
export function removeGrants(batch: Batch, principals: SubjectRange, organization: string): void {
  const parameters = { ...principals, ...repositoriesOf(organization) };
  batch.run(
    `UPDATE policies SET statements = ${WITHOUT_GRANTS}, version = version + 1, text = NULL
     WHERE subject IN (SELECT 'repository:' || repository FROM (${ALLOWING}))
       OR subject >= 'trash:' AND subject < 'trash;' AND repository >= :low AND repository < :high
         AND EXISTS (SELECT 1 FROM json_each(statements) s, json_each(s.value, '$.principals') q
           WHERE q.value >= :from AND q.value < :before)`,
    parameters,
  );
  const indexed = 'principal >= :from AND principal < :before AND repository >= :low AND repository < :high';
  batch.run(
    `DELETE FROM policy_principals WHERE ${indexed}
       AND NOT EXISTS (SELECT 1 FROM policies p, json_each(p.statements) s, json_each(s.value, '$.principals') q
         WHERE p.subject = 'repository:' || policy_principals.repository AND q.value = policy_principals.principal)`,
    parameters,
  );
  // If a policy still names the principal afterwards, it only denies something.
  batch.run(`UPDATE policy_principals SET pull = pull & ${DENIES | DEPENDS} WHERE ${indexed}`, parameters);
}

function repositoriesOf(organization: string): Record<'low' | 'high', string> {
  return { low: `${organization}/`, high: `${organization}0` };
}

/**
 * Returns the repositories whose policies name a user. A disabled user is included, because the grants stay and the user may be
 * enabled again.
 */
export async function grantsOf(env: Database, subject: string): Promise<Grants> {
  const { results } = await prepare(
    env,
    `SELECT repository, count(*) OVER () AS count FROM policy_principals WHERE principal = :subject
     ORDER BY repository LIMIT ${LISTED_MAX}`,
    { subject },
  ).all<{ repository: string; count: number }>();
  return { count: results[0]?.count ?? 0, repositories: results.map(({ repository }) => repository) };
}

/** What decides which people the caller may know about (`viewerOf`). A narrowed credential may not know about anybody. */
interface Asker {
  administrator: boolean;
  subject: string;
  owns: readonly string[];
  belongsTo: readonly string[];
}

export interface NamedPrincipal {
  /** The principal as stored, which may have a mark. */
  principal: string;
  found: number;
  disabled: number;
  /** 1 if the caller and this user are members of the same organization. */
  colleague: number;
}

/**
 * Adds a query to the batch that reads the principals in statements, for `warningsOf`.
 * @param statements the statements, or `null` for those of the saved policy of `subject`
 */
export function queryNames(
  batch: Batch,
  { statements, subject }: { statements: readonly Statement[] | null; subject: string },
  asker: Asker,
): Handle<NamedPrincipal> {
  return batch.query(
    `SELECT principal, ${principalExists('name')} AS found,
       EXISTS (SELECT 1 FROM accounts WHERE subject = name AND disabled = 1) AS disabled,
       EXISTS (SELECT 1 FROM members WHERE user = name AND organization IN (SELECT value FROM json_each(:organizations)))
         AS colleague
     FROM (SELECT DISTINCT p.value AS principal, ltrim(p.value, '${MARK}') AS name
       FROM json_each(coalesce(:statements, (SELECT statements FROM policies WHERE subject = :subject))) s,
         json_each(s.value, '$.principals') p)
     WHERE principal <> '${EVERYONE}' ORDER BY name`,
    { statements, subject, organizations: asker.belongsTo },
  );
}

/**
 * Returns warnings about the principals in a policy. If the caller may not know whether an account exists, the warning does not
 * reveal it.
 */
export function warningsOf(named: readonly NamedPrincipal[], asker: Asker): string[] {
  return named.flatMap((one) => warningOf(one, asker) ?? []);
}

function warningOf({ principal, found, disabled, colleague }: NamedPrincipal, asker: Asker): string | null {
  const name = shownPrincipal(principal);
  if (!mayKnow(asker, name, colleague === 1)) {
    return (
      `${name} belongs to no organization of yours: if nobody has this name now, nothing is allowed to whoever ` +
      `takes it later`
    );
  }
  if (!found) return `${name} does not exist: nothing is allowed to whoever takes this name later`;
  if (principal !== name) {
    return (
      `${name} did not exist when this policy was saved, and is allowed nothing by it: save the policy again to ` +
      `include them`
    );
  }
  return disabled ? `${name} is disabled` : null;
}

/**
 * Returns true if the caller may know whether this name exists. Users know about themselves and users of the same organization,
 * members know the teams of their organization, and owners know its robots.
 */
function mayKnow({ administrator, subject, belongsTo, owns }: Asker, name: string, colleague: boolean): boolean {
  if (administrator || name === subject) return true;
  if (name.startsWith('user:')) return colleague;
  if (name.startsWith('organization:')) return belongsTo.includes(nameOf(name));
  return (name.startsWith('team:') ? belongsTo : owns).includes(organizationOf(name));
}
