/**
 * Policies: the statements of users, teams, robots and repositories. Each policy is read and saved as a whole. The functions
 * that save a policy check its limits, that the policy of a team or robot names only its organization's repositories, and that
 * the subject exists.
 */
import type { Batch, Database, Handle, Results } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { bytesOf as bytesInSql, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { EVERYONE, nameOf, organizationOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Authority } from '../authority.ts';
import { checkStatements, type Statement, statementBytes } from '../statement.ts';
import { requirePolicyRoom } from '../team-limits.ts';
import { DELETED, requireVersion } from '../within.ts';
import {
  boundStatements,
  indexNames,
  type NamedPrincipal,
  queryNames,
  warningsOf,
  withoutMarks,
  withShownPrincipals,
} from './policy-names.ts';
import { type Viewer, viewerOf } from './viewer.ts';

interface Policy {
  statements: Statement[];
  /** 0 if the policy was never saved. */
  version: number;
  /** The policy as a client of the ECR API sent it; `null` if it was saved in another way. */
  text: string | null;
}

/** The statement that allows everybody to pull. A repository is public only if its policy contains such a statement. */
const PUBLIC: Statement = { effect: 'allow', actions: ['pull'], repositories: [], principals: [EVERYONE] };

export function isPublic(statements: readonly Statement[]): boolean {
  return statements.some(isPublicStatement);
}

function isPublicStatement({ effect, actions, principals, conditions }: Statement): boolean {
  return effect === 'allow' && actions.includes('pull') && !conditions && (principals?.includes(EVERYONE) ?? false);
}

/** Returns the statements with another visibility. Everything else that a public statement allows is kept. */
function withVisibility(statements: readonly Statement[], visibility: 'public' | 'private'): Statement[] {
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

const SELECT_POLICY = 'SELECT statements, version, text FROM policies WHERE subject = :subject';

const VERSION = 'SELECT version FROM policies WHERE subject = :subject';

interface Row {
  statements: string;
  version: number;
  text: string | null;
}

function policyOf(row: Row | null): Policy {
  if (!row) return { statements: [], version: 0, text: null };
  return { ...row, statements: JSON.parse(row.statements) as Statement[] };
}

export async function getPolicy(env: Pick<Database, 'DB'>, subject: string): Promise<Policy> {
  return policyOf(await prepare(env, SELECT_POLICY, { subject }).first<Row>());
}

/** Handles of the statements by which a batch reads a policy. `policyIn` reads the results. */
interface PolicyRead {
  policy: Handle<Row>;
  names: Handle<NamedPrincipal>;
  viewer: Viewer;
}

/**
 * Adds queries to the batch that read a policy and the accounts that it names. The batch fails with `not-found` if the subject
 * of the policy does not exist. For a repository, the caller must add that precondition.
 * @param asker the caller of the request. Warnings about names reveal only what this caller may know about people
 * @param planned statements to warn about instead of the saved ones
 */
export function queryPolicy(
  batch: Batch,
  subject: string,
  asker: Authority,
  planned: readonly Statement[] | null = null,
): PolicyRead {
  requireSubject(batch, subject);
  return readBack(batch, subject, viewerOf(asker), planned);
}

function readBack(batch: Batch, subject: string, viewer: Viewer, planned: readonly Statement[] | null): PolicyRead {
  const names = queryNames(batch, { statements: planned, subject }, viewer);
  return { policy: batch.query<Row>(SELECT_POLICY, { subject }), names, viewer };
}

export function policyIn(results: Results, { policy, names, viewer }: PolicyRead): Policy & { warnings: string[] } {
  return { ...policyOf(results.first(policy)), warnings: warningsOf(results.of(names), viewer) };
}

/**
 * Adds statements to the batch that save a policy. The batch fails with `version-mismatch`; with `limit-reached` if the
 * policies of the teams of a member would be too long together; and with `not-found` if the subject does not exist. For a
 * repository, the caller must add the precondition that it exists.
 * @param asker the caller of the request. Warnings about names reveal only what this caller may know about people
 * @throws request-invalid if the statements exceed the limits of a policy, or are outside the organization of a team or robot
 */
export function savePolicy(
  batch: Batch,
  env: Database,
  { subject, statements, text = null }: { subject: string; statements: readonly Statement[]; text?: string | null },
  { ifVersion, by, asker }: { ifVersion: number | null; by: Actor; asker: Authority },
): PolicyRead {
  requireWithinOrganization(subject, statements);
  requireVersion(batch, VERSION, { subject }, ifVersion);
  if (subject.startsWith('team:')) requirePolicyRoom(batch, env, subject, statementBytes(statements));
  requireSubject(batch, subject);
  writePolicy(batch, subject, statements, by, text);
  return readBack(batch, subject, viewerOf(asker), null);
}

/**
 * Requires that the policy of a team or robot names only repositories of its own organization. A team or robot can get rights
 * to another repository by the policy of that repository.
 * @throws request-invalid
 */
export function requireWithinOrganization(subject: string, statements: readonly Statement[]): void {
  const organization = subject.startsWith('team:') || subject.startsWith('robot:') ? organizationOf(subject) : '';
  if (organization === '') return;
  const outside = statements.flatMap(({ repositories }) => repositories).find((one) => !one.startsWith(`${organization}/`));
  if (outside === undefined) return;
  const remedy =
    outside === organization
      ? `for all repositories in ${organization}/, write ${organization}/*`
      : `give ${subject} access to a repository elsewhere in the policy of that repository`;
  throw new Refusal('request-invalid', {
    message: `"${outside}" is outside of ${organization}/. Nothing was saved: ${remedy}`,
  });
}

/**
 * Adds a precondition to the batch: the user, organization, team or robot exists. Otherwise the batch fails with `not-found`.
 * Adds nothing for a repository.
 */
function requireSubject(batch: Batch, subject: string): void {
  if (subject.startsWith('repository:')) return;
  batch.require(
    'not-found',
    `EXISTS (SELECT 1 FROM accounts WHERE subject = :subject AND disabled <> ${DELETED})
      OR EXISTS (SELECT 1 FROM teams WHERE subject = :subject)`,
    { subject },
  );
}

/** The maximum number of bytes of the statements that an event lists as added, and of those that it lists as removed. */
const LISTED_MAX_BYTES = 4096;

/**
 * Adds a statement to the batch that records which statements a change adds and removes. It must run before the policy is
 * written. `omitted` in the event is the number of statements that do not fit into the lists.
 */
function recordPolicy(batch: Batch, subject: string, statements: readonly Statement[], by: Actor): void {
  const before = withoutMarks(`coalesce((SELECT statements FROM policies WHERE subject = :subject), '[]')`);
  const differing = (list: string, other: string) =>
    `SELECT value, sum(${bytesInSql('value')}) OVER (ORDER BY key) AS bytes FROM json_each(${list})
     WHERE value NOT IN (SELECT value FROM json_each(${other}))`;
  const listed = (name: string) => `(SELECT json_group_array(json(value)) FROM ${name} WHERE bytes <= ${LISTED_MAX_BYTES})`;
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `WITH added AS (${differing(':statements', before)}), removed AS (${differing(before, ':statements')})
      SELECT 'policy.saved' AS type, json_object('subject', :subject,
        'statements', ${listed('added')}, 'removed', ${listed('removed')},
        'omitted', (SELECT count(*) FROM (SELECT bytes FROM added UNION ALL SELECT bytes FROM removed)
          WHERE bytes > ${LISTED_MAX_BYTES}),
        'count', json_object('from', json_array_length(${before}), 'to', json_array_length(:statements))) AS target`,
    parameters: { subject, statements: statements.map(withShownPrincipals) },
  });
}

/**
 * Adds statements to the batch that write the policy of `subject` and record the change. @throws request-invalid if the policy
 * exceeds its limits
 */
function writePolicy(
  batch: Batch,
  subject: string,
  statements: readonly Statement[],
  by: Actor,
  text: string | null = null,
): void {
  recordPolicy(batch, subject, statements, by);
  writeStatements(batch, subject, statements, text);
}

function writeStatements(batch: Batch, subject: string, statements: readonly Statement[], text: string | null = null): void {
  checkStatements(statements.map(withShownPrincipals));
  const isOfRepository = subject.startsWith('repository:');
  batch.run(
    `INSERT INTO policies (subject, statements, text) VALUES (:subject,
      ${isOfRepository ? boundStatements(':statements') : ':statements'}, :text)
     ON CONFLICT DO UPDATE SET statements = excluded.statements, text = excluded.text, version = version + 1`,
    { subject, statements, text },
  );
  if (isOfRepository) indexNames(batch, nameOf(subject));
}

/**
 * Adds statements to the batch that write the first policy of a new repository.
 * @param mayAdminister true if the creator may change the policy afterwards
 * @throws forbidden if the repository is to be public and the creator may not change its policy
 */
export function writeFirstPolicy(
  batch: Batch,
  subject: string,
  visibility: 'public' | 'private',
  { by, mayAdminister }: { by: Actor; mayAdminister: boolean },
): void {
  if (visibility === 'public' && !mayAdminister) {
    const message =
      'you may create this repository, but not make it public: the right to admin is missing. Nothing was created: ' +
      'create it private';
    throw new Refusal('forbidden', { message });
  }
  const statements = withVisibility([], visibility);
  if (statements.length > 0) writePolicy(batch, subject, statements, by);
  else writeStatements(batch, subject, statements);
}

/** The statements for the new visibility, and the version of the policy from which they were computed. */
type VisibilityChange = Pick<Policy, 'statements' | 'version'>;

/**
 * Reads a policy and computes the statements for another visibility. @returns `null` if the repository already has this
 * visibility
 */
export async function visibilityChange(
  env: Pick<Database, 'DB'>,
  subject: string,
  visibility: 'public' | 'private',
): Promise<VisibilityChange | null> {
  const { statements, version } = await getPolicy(env, subject);
  if (isPublic(statements) === (visibility === 'public')) return null;
  return { statements: withVisibility(statements, visibility), version };
}

/**
 * Adds statements to the batch that write a policy with another visibility. The batch fails with `overtaken` if the policy was
 * saved after `visibilityChange` read it.
 */
export function writeVisibility(batch: Batch, subject: string, { statements, version }: VisibilityChange, by: Actor): void {
  batch.require('overtaken', `coalesce((${VERSION}), 0) = :version`, { subject, version });
  writePolicy(batch, subject, statements, by);
}
