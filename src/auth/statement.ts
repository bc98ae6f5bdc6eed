/**
 * The one engine that decides who may do what. Nothing is allowed unless a statement allows it, and a statement that denies
 * wins over all that allow. Pure: the same statements and question have the same answer, in whatever order they come.
 */
import { patternList } from '../oci/pattern.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';

export interface Statement {
  effect: 'allow' | 'deny';
  actions: readonly RepositoryAction[];
  /** Names or patterns. Of a repository's own statement: that repository. */
  repositories: readonly string[];
  /** Whom it is about; absent from a statement that hangs on somebody. */
  principals?: readonly string[];
  /** Patterns; absent: every tag, and what has none. */
  tags?: readonly string[];
}

/** A statement and where it hangs: `team:acme/dev`, `repository:acme/api`, or a role such as `owner of acme`. */
export interface Sourced {
  from: string;
  statement: Statement;
  /** Of a role. To administer cannot be denied to it: nobody could take such a denial back. */
  standing?: boolean;
  /** Stands for a policy that is larger than one request reads, and might deny anything that it can be about. */
  unread?: true;
}

export interface Question {
  action: RepositoryAction;
  repository: string;
  /** `null`: the request names none, as one by digest does. */
  tag: string | null;
  /** Whoever asks, and all they belong to. */
  principals: readonly string[];
}

export interface Decision {
  allowed: boolean;
  /** The statement that decided; `null` where none matched. */
  decidedBy: Sourced | null;
  matched: Sourced[];
}

export function evaluate(statements: readonly Sourced[], question: Question): Decision {
  return decisions(statements, question).about(question.tag);
}

/** Answers one question about many tags. */
export interface Decisions {
  about(tag: string | null): Decision;
  /** Comparisons with patterns that each tag takes at most. */
  comparisons: number;
}

/** What does not depend on the tag is compared once, here; `about` compares the tag alone. */
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

/** Whether there is a tag with which the answer would be yes. */
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

/** The first by name of where it hangs, so that an explanation does not depend on the order either. */
function firstOf(matched: Sourced[], effect: Statement['effect']): Sourced | undefined {
  let first: Sourced | undefined;
  for (const one of matched) {
    if (one.statement.effect === effect && (first === undefined || one.from < first.from)) first = one;
  }
  return first;
}

export function concerns({ actions, repositories, principals }: Statement, question: Omit<Question, 'tag'>): boolean {
  return (
    actions.includes(question.action) && isAbout(repositories, question.repository) && names(principals, question.principals)
  );
}

/** Whether a statement's patterns of repositories mean this one. */
export function isAbout(patterns: readonly string[], repository: string): boolean {
  return patternList(patterns).matches(repository);
}

const sets = new WeakMap<readonly string[], ReadonlySet<string>>();

/** Whether a statement that is about these principals is about somebody who is all of those. */
export function names(principals: readonly string[] | undefined, asking: readonly string[]): boolean {
  if (principals === undefined) return true;
  const known = sets.get(asking) ?? new Set(asking);
  sets.set(asking, known);
  return principals.some((principal) => known.has(principal));
}

/**
 * Where no tag is named: content may be pushed by whoever may push some tag, as a tag needs content; it may not be deleted
 * by whoever may delete some tags only, nor while some of its tags must not be: a deletion by digest takes all of them.
 */
function meansTag({ tags, effect }: Statement, { tag, action }: Pick<Question, 'tag' | 'action'>): boolean {
  if (!tags) return true;
  if (tag !== null) return patternList(tags).matches(tag);
  return effect === 'allow' ? action === 'push' : action === 'delete';
}
