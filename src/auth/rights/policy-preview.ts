/**
 * Previews a policy: which rights each principal would gain and lose if the policy were saved. It uses the policy engine that
 * decides on every request.
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { patternList } from '../../oci/pattern.ts';
import { ACTIONS, type RepositoryAction } from '../../vocabulary/actions.ts';
import { EVERYONE, nameOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type Authority, onIdentity, onRepository } from '../authority.ts';
import { applies } from '../conditions.ts';
import { COMPARISONS_MAX } from '../policy.ts';
import { appliesTo, checkStatements, decisions, isAbout, type Sourced, type Statement } from '../statement.ts';
import { requireWithinOrganization } from './policies.ts';
import { shownPrincipal } from './policy-names.ts';
import { groupByName, knowsOf, seen, statementsOfRepositories, type Viewer, viewerOf } from './viewer.ts';

/**
 * The maximum number of pairs of a caller and a repository that one preview compares. More pairs would exceed a Worker's CPU
 * time.
 */
const PAIRS_MAX = 400;
/** The maximum number of pattern comparisons in one preview. */
const PREVIEW_COMPARISONS_MAX = 2 * COMPARISONS_MAX;
/** The maximum number of bytes of the policies of users and robots that one preview reads. */
const PEOPLE_MAX_BYTES = 512 * 1024;

export interface Difference {
  principal: string;
  repository: string;
  gains: Right[];
  loses: Right[];
}

interface Right {
  action: RepositoryAction;
  /** Patterns of tags to which the right is limited. Absent if the right applies to any tag. */
  tags?: string[];
}

/** A caller, a repository, and the statements that apply to both, before and after the change. */
interface Pair {
  principals: readonly string[];
  principal: string;
  repository: string;
  before: Sourced[];
  after: Sourced[];
}

function pairOf(authority: Authority, repository: string, before: readonly Sourced[], after: readonly Sourced[]): Pair {
  const { principals, subject } = authority;
  const isRelevant = ({ statement }: Sourced) =>
    isAbout(statement.repositories, repository) && appliesTo(statement, principals);
  return { principals, principal: subject, repository, before: before.filter(isRelevant), after: after.filter(isRelevant) };
}

/** Returns the tag patterns in the statements. */
function patternsIn({ before, after }: Pair): string[] {
  return [...new Set([...before, ...after].flatMap(({ statement }) => statement.tags ?? []))];
}

/** Returns the maximum number of pattern comparisons that `differenceOf` makes for this pair. */
function comparisonsOf(pair: Pair): number {
  const { before, after } = pair;
  const each = [...before, ...after].reduce(
    (sum, { statement }) => sum + (statement.tags ? patternList(statement.tags).comparisons * statement.actions.length : 1),
    1,
  );
  return each * (patternsIn(pair).length + 2);
}

function differenceOf(pair: Pair): Difference {
  const { principals, principal, repository, before, after } = pair;
  const patterns = patternsIn(pair);
  // One tag that no pattern matches represents all such tags.
  const tags = [OTHER_TAG, ...patterns.map((pattern) => pattern.replaceAll('*', OTHER_TAG)), null];
  const gains: Right[] = [];
  const loses: Right[] = [];
  for (const action of ACTIONS) {
    const [may, will] = [before, after].map((statements) => {
      const { about } = decisions(statements, { action, repository, principals });
      return tags.map((tag) => about(tag).allowed);
    }) as [boolean[], boolean[]];
    gains.push(...rightIn(action, patterns, (n) => !may[n] && will[n] === true));
    loses.push(...rightIn(action, patterns, (n) => may[n] === true && !will[n]));
  }
  return { principal, repository, gains, loses };
}

/**
 * Returns the rights that change for one action.
 * @param changed returns true if the right changes for tag number `n`. 0 is any tag that no pattern matches, the next numbers
 * are the patterns, and the last number is a request without a tag
 */
function rightIn(action: RepositoryAction, patterns: readonly string[], changed: (n: number) => boolean): Right[] {
  if (changed(0)) return [{ action }];
  const tags = patterns.filter((_, n) => changed(n + 1));
  if (tags.length > 0) return [{ action, tags }];
  return changed(patterns.length + 1) ? [{ action }] : [];
}

const OTHER_TAG = '__any_other_tag__';

interface Preview {
  changes: Difference[];
  /** True if the comparison is incomplete, because one request may compare only a limited number of pairs. */
  truncated: boolean;
}

interface Plan {
  /** The saved statements. */
  before: Statement[];
  after: Statement[];
  /** The repositories to compare: those to which the statements may apply, or the repository whose policy is changed. */
  repositories: string[] | Promise<string[]>;
}

/**
 * Compares the rights of principals before and after the change.
 * @param asker the caller, who sees only what the caller may know about people
 * @throws request-invalid if the statements cannot be saved, or need too many comparisons for one caller and one repository
 */
export async function previewPolicy(env: Database, subject: string, plan: Plan, asker: Authority): Promise<Preview> {
  const { before, after } = plan;
  checkStatements(after);
  requireWithinOrganization(subject, after);
  const viewer = viewerOf(asker);
  const [{ people, others, cut }, repositories] = await Promise.all([
    concerned(env, subject, [...before, ...after], viewer),
    plan.repositories,
  ]);
  const room = Math.max(1, Math.floor(PAIRS_MAX / Math.max(1, repositories.length)));
  const [own, known] = await Promise.all([
    statementsOfRepositories(env, repositories),
    seen(env, viewer, people.slice(0, room), []),
  ]);
  const authorities = [...known.map(({ authority }) => authority), ...others.map((other) => groupByName(other, false))].slice(
    0,
    room,
  );
  const pairs = authorities.flatMap((authority) =>
    [...own].map(([repository, statements]) => {
      const all = [...authority.statements, ...statements];
      return () => pairOf(authority, repository, all, replaced(all, subject, after));
    }),
  );
  const { changes, complete } = compared(pairs);
  const all = people.length + others.length <= room && own.size === repositories.length && !cut;
  return { changes, truncated: !complete || !all };
}

/** Compares the pairs in order, up to the limit of one request. */
function compared(pairs: readonly (() => Pair)[]): { changes: Difference[]; complete: boolean } {
  const changes: Difference[] = [];
  let spent = 0;
  for (const [n, made] of pairs.entries()) {
    const pair = made();
    const comparisons = comparisonsOf(pair);
    if (n === 0 && comparisons > PREVIEW_COMPARISONS_MAX) throw tooMany(pair, comparisons);
    spent += comparisons;
    if (spent > PREVIEW_COMPARISONS_MAX) return { changes, complete: false };
    const difference = differenceOf(pair);
    if (difference.gains.length + difference.loses.length > 0) changes.push(difference);
  }
  return { changes, complete: true };
}

function tooMany(pair: Pair, comparisons: number): Refusal {
  const message =
    `a dry run makes up to ${PREVIEW_COMPARISONS_MAX} pattern comparisons; for ${pair.principal} in ` +
    `${pair.repository} alone these statements take ${comparisons}, as they name ${patternsIn(pair).length} tag ` +
    `patterns. Nothing was compared or changed: use fewer patterns`;
  return new Refusal('request-invalid', { message, detail: { limit: PREVIEW_COMPARISONS_MAX, count: comparisons } });
}

/** Returns the statements that apply to a caller after the policy is saved. */
function replaced(statements: readonly Sourced[], subject: string, after: readonly Statement[]): Sourced[] {
  const applying = after.filter((statement) => applies(statement, null, ''));
  const saved = subject.startsWith('repository:') ? onRepository(nameOf(subject), applying) : onIdentity(subject, applying);
  return [...statements.filter(({ from }) => from !== subject), ...saved];
}

interface Concerned {
  /** The users and robots about which the viewer may know. */
  people: string[];
  /**
   * Everyone, and the principals about which the viewer may not know. They are compared by name alone, whether they exist or
   * not.
   */
  others: string[];
  /** True if there are more users and robots than one preview reads. */
  cut: boolean;
}

/**
 * Finds the principals to whom the statements apply. Members of a team or organization are listed only for a viewer who belongs
 * to it.
 */
async function concerned(env: Database, subject: string, statements: readonly Statement[], viewer: Viewer): Promise<Concerned> {
  const named = subject.startsWith('repository:')
    ? statements.flatMap(({ principals }) => principals?.map(shownPrincipal) ?? [])
    : [subject];
  const denied = statements.some(({ effect, principals }) => effect === 'deny' && principals?.includes(EVERYONE));
  const groups = named.filter((one) => knowsOf(viewer, one));
  const { results } = await prepare(env, PEOPLE, {
    ...{ groups, named, everyoneDenied: denied },
    ...{ organizations: viewer.belongsTo, administrator: viewer.administrator },
  }).all<{ subject: string; bytes: number }>();
  const found = fitting(results);
  const people = new Set([...found, ...groups.filter(isPerson)]);
  const others = named.filter((one) => one === EVERYONE || !(people.has(one) || groups.includes(one)));
  return { people: [...people].sort(), others: [...new Set(others)].sort(), cut: found.length < results.length };
}

/** Returns the first users and robots of the list whose policies fit into one preview. */
function fitting(rows: readonly { subject: string; bytes: number }[]): string[] {
  let room = PEOPLE_MAX_BYTES;
  const end = rows.findIndex(({ bytes }) => {
    room -= bytes;
    return room < 0;
  });
  return rows.slice(0, end < 0 ? rows.length : end).map(({ subject }) => subject);
}

function isPerson(principal: string): boolean {
  return principal.startsWith('user:') || principal.startsWith('robot:');
}

/**
 * SQL query: users and robots with the bytes of their policies. Selects the members of :groups, and the members of the viewer's
 * :organizations whose names are in :named. If :everyoneDenied is true, selects all members of these organizations, and for an
 * :administrator all accounts.
 */
const PEOPLE = `SELECT found.subject, coalesce(octet_length(statements), 0) AS bytes FROM (
    SELECT user AS subject FROM team_members WHERE team IN (SELECT value FROM json_each(:groups))
    UNION SELECT user FROM members
      WHERE organization IN (SELECT substr(value, 14) FROM json_each(:groups) WHERE value LIKE 'organization:%')
    UNION SELECT user FROM members
      WHERE organization IN (SELECT value FROM json_each(:organizations))
        AND (:everyoneDenied OR user IN (SELECT value FROM json_each(:named)))
    UNION SELECT subject FROM accounts WHERE :everyoneDenied AND :administrator AND subject > 'robot:' AND subject < 'user;'
      AND disabled = 0
    ORDER BY 1 LIMIT ${PAIRS_MAX + 1}) found LEFT JOIN policies ON policies.subject = found.subject ORDER BY 1`;
