/**
 * The policy engine: decides who may do what. Nothing is allowed unless a statement allows it, and a deny statement overrules
 * allow statements. The order of the statements does not matter. A request may have to read statements that somebody else wrote
 * (invariant 12), so every function that stores statements checks their limits with `checkStatements`. This module does no I/O.
 */
import { matchesOne, patternList } from '../oci/pattern.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import type { Condition } from '../vocabulary/conditions.ts';
import { PATTERNS_MAX, POLICY_MAX_BYTES, STATEMENTS_MAX } from '../vocabulary/limits.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { conditionError } from './conditions.ts';

export interface Statement {
  effect: 'allow' | 'deny';
  actions: readonly RepositoryAction[];
  /** Names or patterns of repositories. For a statement in the policy of a repository, the name of that repository. */
  repositories: readonly string[];
  /**
   * The principals to whom a statement in the policy of a repository applies. Absent in the policy of a user, team or robot.
   */
  principals?: readonly string[];
  /**
   * The principals to whom the statement does not apply, although `principals` names everyone. Only a statement that denies has
   * this, in the policy of a repository.
   */
  except?: readonly string[];
  /** The statement applies to a request only if all of these hold. `conditions.ts` leaves out the others before a decision. */
  conditions?: readonly Condition[];
  /** Patterns of tags. If absent, the statement applies to every tag and to content without a tag. */
  tags?: readonly string[];
}

/** A statement and its source, for example `team:acme/dev`, `repository:acme/api`, or a role such as `owner of acme`. */
export interface Sourced {
  from: string;
  statement: Statement;
  /** True for the statement of a role. The action `admin` cannot be denied to a role, because nobody could undo the denial. */
  standing?: boolean;
  /** True if the statement stands for a policy that was too long to read. Such a policy might deny anything. */
  unread?: true;
}

export interface Question {
  action: RepositoryAction;
  repository: string;
  /** `null` if the request names no tag, for example a pull by digest. */
  tag: string | null;
  /** The caller and all groups to which the caller belongs. */
  principals: readonly string[];
}

export interface Decision {
  allowed: boolean;
  /** The statement that decided, or `null` if none applied. */
  decidedBy: Sourced | null;
  matched: Sourced[];
}

export function evaluate(statements: readonly Sourced[], question: Question): Decision {
  return decisions(statements, question).about(question.tag);
}

/** A decision that can be asked for many tags. */
interface Decisions {
  about(tag: string | null): Decision;
  /** The maximum number of pattern comparisons for one tag. */
  comparisons: number;
}

/** Compares everything that does not depend on the tag once, so that `about` compares only the tag. */
export function decisions(statements: readonly Sourced[], question: Omit<Question, 'tag'>): Decisions {
  const relevant = statements.filter(({ statement }) => concerns(statement, question));
  return {
    about: (tag) =>
      decide(
        question,
        relevant.filter(({ statement }) => meansTag(statement, { tag, action: question.action })),
      ),
    comparisons: relevant.reduce(
      (sum, { statement }) => sum + (statement.tags ? patternList(statement.tags).comparisons : 0),
      0,
    ),
  };
}

/** Returns true if the action would be allowed for at least one possible tag. */
export function mightAllow(statements: readonly Sourced[], question: Omit<Question, 'tag'>): boolean {
  const matched = statements.filter(
    ({ statement }) => concerns(statement, question) && (statement.effect === 'allow' || !statement.tags),
  );
  return decide(question, matched).allowed;
}

function decide(question: Pick<Question, 'action'>, matched: Sourced[]): Decision {
  const roles = matched.filter(({ standing }) => standing);
  const allow = firstOf(roles, 'allow') ?? firstOf(matched, 'allow');
  const deny = firstOf(matched, 'deny');
  const overruled = deny && !(question.action === 'admin' && allow?.standing);
  return { allowed: allow !== undefined && !overruled, decidedBy: (overruled ? deny : allow) ?? null, matched };
}

/**
 * Returns the statement whose source is first by name, so that an explanation does not depend on the order of the statements.
 */
function firstOf(matched: Sourced[], effect: Statement['effect']): Sourced | undefined {
  let first: Sourced | undefined;
  for (const one of matched) {
    if (one.statement.effect === effect && (first === undefined || one.from < first.from)) first = one;
  }
  return first;
}

function concerns(statement: Statement, question: Omit<Question, 'tag'>): boolean {
  const { actions, repositories } = statement;
  return (
    actions.includes(question.action) && isAbout(repositories, question.repository) && appliesTo(statement, question.principals)
  );
}

/** True if a statement applies to a caller who has the principals in `asking`. */
export function appliesTo(
  { principals, except }: Pick<Statement, 'principals' | 'except'>,
  asking: readonly string[],
): boolean {
  return names(principals, asking) && (except === undefined || !names(except, asking));
}

/** Returns true if at least one of the patterns matches the repository. */
export function isAbout(patterns: readonly string[], repository: string): boolean {
  return matchesOne(patterns, repository);
}

const sets = new WeakMap<readonly string[], ReadonlySet<string>>();

/** True if one of `principals` is in `asking`, or if there is no list of principals. */
function names(principals: readonly string[] | undefined, asking: readonly string[]): boolean {
  if (principals === undefined) return true;
  const known = sets.get(asking) ?? new Set(asking);
  sets.set(asking, known);
  return principals.some((principal) => known.has(principal));
}

/**
 * Returns true if a statement applies to the tag of a request. For a request without a tag:
 * - A right to push some tags allows pushing content, because content is pushed before its tag.
 * - A right to delete some tags does not allow a deletion by digest, because that removes all tags.
 * - A statement that denies deleting some tags also denies a deletion by digest.
 */
function meansTag({ tags, effect }: Statement, { tag, action }: Pick<Question, 'tag' | 'action'>): boolean {
  if (!tags) return true;
  if (tag !== null) return patternList(tags).matches(tag);
  return effect === 'allow' ? action === 'push' : action === 'delete';
}

/** The maximum number of different principals in all statements together. Each of them is a row of an index. */
const PRINCIPALS_MAX = 200;

/**
 * @param what "a policy" or "a key", for the message
 * @throws request-invalid if the statements exceed a limit, with a message that names the limit
 */
export function checkStatements(statements: readonly Statement[], what = 'a policy'): void {
  refuseOver(statements.length, STATEMENTS_MAX, 'statements', what);
  statements.forEach(({ repositories, tags = [], principals = [], except = [] }, n) => {
    for (const [name, list] of Object.entries({ repositories, tags, principals, except })) {
      refuseOver(list.length, PATTERNS_MAX, `${name} in one statement`, what, ` (statement ${n + 1})`);
    }
  });
  for (const error of statements.flatMap(({ conditions = [] }) => conditions.map(conditionError)))
    if (error !== null) throw new Refusal('request-invalid', { message: `${error}. Nothing was saved` });
  refuseOver(new Set(statements.flatMap(({ principals = [] }) => principals)).size, PRINCIPALS_MAX, 'principals in all', what);
  refuseOver(statementBytes(statements), POLICY_MAX_BYTES, 'bytes as JSON', what);
}

/** Returns the number of UTF-8 bytes of the statements in the stored form, which is JSON. */
export function statementBytes(statements: readonly Statement[]): number {
  return new TextEncoder().encode(JSON.stringify(statements)).byteLength;
}

function refuseOver(count: number, limit: number, unit: string, what: string, where = ''): void {
  if (count <= limit) return;
  throw new Refusal('request-invalid', {
    message: `${what} has up to ${limit} ${unit}; this one has ${count}${where}. Nothing was saved.`,
    detail: { limit, count },
  });
}
