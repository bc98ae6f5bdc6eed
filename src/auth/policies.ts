/** The statements that hang on users, teams, robots and repositories: read and saved as one document each. */
import { refuseUnless, tryBatch } from '../events/batch.ts';
import { type Actor, aboutOf } from '../events/event.ts';
import { bytesOf as bytesInSql, record } from '../events/outbox.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Authority } from './authority.ts';
import type { Database } from './directory.ts';
import { EVERYONE, nameOf, organizationOf } from './names.ts';
import { boundStatements, indexNames, selectNames, warningsOf, withoutMarks, withShownPrincipals } from './policy-names.ts';
import type { Statement } from './statement.ts';
import { bytesOf, checkStatements } from './statement-limits.ts';
import { policyRoomRefusal, requirePolicyRoom } from './team-limits.ts';
import { viewerOf } from './viewer.ts';
import { DELETED } from './within.ts';

export interface Policy {
  statements: Statement[];
  /** 0: nothing was ever saved. */
  version: number;
}

/** What lets everybody pull. A repository's visibility is this statement, and nothing else. */
export const PUBLIC: Statement = { effect: 'allow', actions: ['pull'], repositories: [], principals: [EVERYONE] };

export function isPublic(statements: readonly Statement[]): boolean {
  return statements.some(isPublicStatement);
}

function isPublicStatement({ effect, actions, principals }: Statement): boolean {
  return effect === 'allow' && actions.includes('pull') && (principals?.includes(EVERYONE) ?? false);
}

/** The same statements but for those that make the repository public; what they allow besides is kept. */
export function withVisibility(statements: readonly Statement[], visibility: 'public' | 'private'): Statement[] {
  if (visibility === 'public') return isPublic(statements) ? [...statements] : [...statements, PUBLIC];
  return statements.flatMap((statement) => (isPublicStatement(statement) ? withoutPublicPull(statement) : [statement]));
}

function withoutPublicPull(statement: Statement): Statement[] {
  const others = statement.principals?.filter((principal) => principal !== EVERYONE) ?? [];
  const actions = statement.actions.filter((action) => action !== 'pull');
  return [
    ...(others.length > 0 ? [{ ...statement, principals: others }] : []),
    ...(actions.length > 0 ? [{ ...statement, actions, principals: [EVERYONE] }] : []),
  ];
}

interface Row {
  statements: string;
  version: number;
}

function select(env: Database, subject: string): D1PreparedStatement {
  return env.DB.prepare('SELECT statements, version FROM policies WHERE subject = ?1').bind(subject);
}

function policyOf(row: Row | null | undefined): Policy {
  return row ? { statements: JSON.parse(row.statements) as Statement[], version: row.version } : { statements: [], version: 0 };
}

export async function getPolicy(env: Database, subject: string): Promise<Policy> {
  return policyOf(await select(env, subject).first<Row>());
}

/**
 * @param guard as for `savePolicy`
 * @param planned statements that are not saved, whose names to warn of
 * @throws not-found or repository-unknown where the guard refuses
 */
export async function readPolicy(
  env: Database,
  subject: string,
  { guard, asker, planned = null }: { guard: D1PreparedStatement[]; asker: Authority; planned?: readonly Statement[] | null },
): Promise<Policy & { warnings: string[] }> {
  const viewer = viewerOf(asker);
  const read = await tryBatch(env, [
    ...guard,
    selectNames(env, { statements: planned, subject }, viewer),
    select(env, subject),
  ]);
  if (!read) throw absent(subject);
  return { ...policyOf(read.at(-1)?.results[0] as Row | undefined), warnings: warningsOf(read.at(-2), viewer) };
}

/**
 * Returns the policy's new version, and what there is to warn of.
 * @param asker whoever saves it: is warned of names as far as they may know of them
 * @param guard statements for the batch that refuse it where the subject is not there
 * @throws request-invalid for more than a policy may hold or be about; conflict for more than the members of a team may have to read;
 *   version-mismatch where it is not the version that was expected, not-found or repository-unknown where the guard refuses
 */
export async function savePolicy(
  env: Database,
  subject: string,
  statements: readonly Statement[],
  { ifVersion, by, guard, asker }: { ifVersion: number | null; by: Actor; guard: D1PreparedStatement[]; asker: Authority },
): Promise<{ version: number; warnings: string[] }> {
  requireWithin(subject, statements);
  const bytes = bytesOf(statements);
  const isTeam = subject.startsWith('team:');
  const viewer = viewerOf(asker);
  const saved = await tryBatch(env, [
    ...guard,
    refuseVersion(env, subject, ifVersion),
    ...(isTeam ? [requirePolicyRoom(env, subject, bytes)] : []),
    recordPolicy(env, subject, statements, by),
    ...policyStatements(env, subject, statements),
    selectNames(env, { statements: null, subject }, viewer),
    select(env, subject),
  ]);
  const version = (saved?.at(-1)?.results[0] as Row | undefined)?.version;
  if (version !== undefined) return { version, warnings: warningsOf(saved?.at(-2), viewer) };
  const { version: actual } = await getPolicy(env, subject);
  if (ifVersion !== null && actual !== ifVersion) throw new Refusal('version-mismatch');
  throw (isTeam && (await policyRoomRefusal(env, subject, bytes))) || absent(subject);
}

/**
 * An organization's owners give away what is theirs. Other repositories are opened to a team or robot by a policy of their own.
 * @throws request-invalid
 */
export function requireWithin(subject: string, statements: readonly Statement[]): void {
  const organization = subject.startsWith('team:') || subject.startsWith('robot:') ? organizationOf(subject) : '';
  if (organization === '') return;
  const outside = statements.flatMap(({ repositories }) => repositories).find((one) => !one.startsWith(`${organization}/`));
  if (outside === undefined) return;
  throw new Refusal('request-invalid', {
    message: `"${outside}" is outside of ${organization}/: a repository elsewhere is opened to ${subject} by its own policy`,
  });
}

function absent(subject: string): Refusal {
  return new Refusal(subject.startsWith('repository:') ? 'repository-unknown' : 'not-found');
}

function refuseVersion(env: Database, subject: string, ifVersion: number | null): D1PreparedStatement {
  const version = 'coalesce((SELECT version FROM policies WHERE subject = ?1), 0)';
  return refuseUnless(env, `?2 IS NULL OR ${version} = ?2`, subject, ifVersion);
}

/** Bytes of the statements that an event lists as new, and as removed. */
const LISTED_MAX_BYTES = 4096;

/**
 * Before the policy is written: the event says what changes, not the whole policy. `statements` are those that are new; what does
 * not fit in either list is counted in `omitted`.
 */
function recordPolicy(env: Database, subject: string, statements: readonly Statement[], by: Actor): D1PreparedStatement {
  const before = withoutMarks(`coalesce((SELECT statements FROM policies WHERE subject = ?3), '[]')`);
  const differing = (list: string, other: string) =>
    `SELECT value, sum(${bytesInSql('value')}) OVER (ORDER BY key) AS bytes FROM json_each(${list})
     WHERE value NOT IN (SELECT value FROM json_each(${other}))`;
  const listed = (name: string) => `(SELECT json_group_array(json(value)) FROM ${name} WHERE bytes <= ${LISTED_MAX_BYTES})`;
  return record(env, {
    about: aboutOf(subject),
    by,
    select: `WITH added AS (${differing('?4', before)}), removed AS (${differing(before, '?4')})
      SELECT 'policy.saved' AS type, json_object('subject', ?3, 'statements', ${listed('added')}, 'removed', ${listed('removed')},
        'omitted', (SELECT count(*) FROM (SELECT bytes FROM added UNION ALL SELECT bytes FROM removed) WHERE bytes > ${LISTED_MAX_BYTES}),
        'count', json_object('from', json_array_length(${before}), 'to', json_array_length(?4))) AS target`,
    parameters: [subject, JSON.stringify(statements.map(withShownPrincipals))],
  });
}

/** For a batch: what makes these the statements of `subject`. @throws request-invalid for more than a policy may hold */
export function policyStatements(env: Database, subject: string, statements: readonly Statement[]): D1PreparedStatement[] {
  checkStatements(statements.map(withShownPrincipals));
  const isOfRepository = subject.startsWith('repository:');
  const save = env.DB.prepare(
    `INSERT INTO policies (subject, statements) VALUES (?1, ${isOfRepository ? boundStatements('?2') : '?2'})
     ON CONFLICT DO UPDATE SET statements = excluded.statements, version = version + 1`,
  ).bind(subject, JSON.stringify(statements));
  return isOfRepository ? [save, ...indexNames(env, nameOf(subject))] : [save];
}

/**
 * For the batch that makes a repository: its first policy.
 * @param mayAdminister whether the maker may change the policy afterwards
 * @throws forbidden where it opens the repository and they may not
 */
export function firstPolicy(
  env: Database,
  subject: string,
  visibility: 'public' | 'private',
  { by, mayAdminister }: { by: Actor; mayAdminister: boolean },
): D1PreparedStatement[] {
  if (visibility === 'public' && !mayAdminister) {
    const message =
      'you may create this repository, but the right to admin, which making it public needs, is missing: nothing was made';
    throw new Refusal('forbidden', { message });
  }
  const statements = withVisibility([], visibility);
  const recorded = statements.length > 0 ? [recordPolicy(env, subject, statements, by)] : [];
  return [...recorded, ...policyStatements(env, subject, statements)];
}

/** For a batch: what makes a repository public or private; nothing where it is so already. Refuses it if that has changed since. */
export async function setVisibility(
  env: Database,
  subject: string,
  visibility: 'public' | 'private',
  by: Actor,
): Promise<D1PreparedStatement[]> {
  const { statements, version } = await getPolicy(env, subject);
  if (isPublic(statements) === (visibility === 'public')) return [];
  const next = withVisibility(statements, visibility);
  return [refuseVersion(env, subject, version), recordPolicy(env, subject, next, by), ...policyStatements(env, subject, next)];
}

/** For the batch that takes the subject itself away; of a repository, see `keepPolicy`. */
export function forgetPolicy(env: Database, subject: string): D1PreparedStatement[] {
  return [env.DB.prepare('DELETE FROM policies WHERE subject = ?1').bind(subject)];
}

/** What a repository's policy hangs on while the repository can be restored: nobody is judged by it. */
function setAside(entry: number): string {
  return `trash:${entry}`;
}

/**
 * For the batch that takes a repository away: its policy counts no more, and is kept.
 * @param entry what it is given back by
 */
export function keepPolicy(env: Pick<Database, 'DB'>, subject: string, entry: number): D1PreparedStatement[] {
  return [
    env.DB.prepare('UPDATE policies SET subject = ?2, repository = ?3 WHERE subject = ?1').bind(
      subject,
      setAside(entry),
      nameOf(subject),
    ),
    env.DB.prepare('DELETE FROM policy_principals WHERE repository = ?1').bind(nameOf(subject)),
  ];
}

/** SQL: whether the policy of a repository that can be restored names a principal: it must not be somebody else by then. */
export function namedInTrash(principal: string): string {
  return `EXISTS (SELECT 1 FROM policies p, json_each(p.statements) s, json_each(s.value, '$.principals') n
    WHERE p.subject >= 'trash:' AND p.subject < 'trash;' AND n.value = ${principal})`;
}

/** For the batch that restores a repository, whose name has no policy then. */
export function giveBackPolicy(env: Pick<Database, 'DB'>, subject: string, entry: number): D1PreparedStatement[] {
  return [
    env.DB.prepare('UPDATE policies SET subject = ?1, repository = NULL WHERE subject = ?2').bind(subject, setAside(entry)),
    ...indexNames(env, nameOf(subject)),
  ];
}

/** For the batch that takes away what was left of repositories that cannot be restored any more. */
export function dropTrashedPolicies(env: Pick<Database, 'DB'>, entries: readonly number[]): D1PreparedStatement[] {
  const subjects = JSON.stringify(entries.map(setAside));
  return [env.DB.prepare('DELETE FROM policies WHERE subject IN (SELECT value FROM json_each(?1))').bind(subjects)];
}

/** For a batch that is about a user, an organization, a team or a robot: refuses it where there is none. */
export function requireSubject(env: Database, subject: string): D1PreparedStatement {
  return refuseUnless(
    env,
    `EXISTS (SELECT 1 FROM accounts WHERE subject = ?1 AND disabled <> ${DELETED})
      OR EXISTS (SELECT 1 FROM teams WHERE subject = ?1)`,
    subject,
  );
}
