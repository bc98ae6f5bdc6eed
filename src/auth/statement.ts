/**
 * The one engine that decides who may do what. Nothing is allowed unless a statement allows it, and a statement that denies
 * wins over all that allow. Pure: the same statements and question have the same answer, in whatever order they come.
 */
import { matches } from '../oci/pattern.ts';

/** What a statement can allow. `retag` moves an existing tag; `push` brings content and new tags. */
export const ACTIONS = ['pull', 'push', 'retag', 'delete', 'admin', 'create'] as const;
export type RepositoryAction = (typeof ACTIONS)[number];

/** The usual sets of actions, by name. */
export const PRESETS = {
  'pull only': ['pull'],
  'push and pull': ['pull', 'push', 'retag'],
  'all actions': [...ACTIONS],
} as const satisfies Record<string, readonly RepositoryAction[]>;
export type Preset = keyof typeof PRESETS;

/** Actions that name a tag, and so can be narrowed to some. Not `pull`: what has a tag can be pulled by its digest as well. */
export const TAG_ACTIONS: readonly RepositoryAction[] = ['push', 'retag', 'delete'];

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
  return decide(
    question,
    statements.filter(({ statement }) => concerns(statement, question) && meansTag(statement, question)),
  );
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
  return matched.filter(({ statement }) => statement.effect === effect).sort((a, b) => (a.from < b.from ? -1 : 1))[0];
}

function concerns({ actions, repositories, principals }: Statement, question: Omit<Question, 'tag'>): boolean {
  return (
    actions.includes(question.action) &&
    repositories.some((pattern) => matches(pattern, question.repository)) &&
    (principals === undefined || principals.some((principal) => question.principals.includes(principal)))
  );
}

/**
 * Where no tag is named: content may be pushed by whoever may push some tag, as a tag needs content; it may not be deleted
 * by whoever may delete some tags only, nor while some of its tags must not be: a deletion by digest takes all of them.
 */
function meansTag({ tags, effect }: Statement, { tag, action }: Question): boolean {
  if (!tags) return true;
  if (tag !== null) return tags.some((pattern) => matches(pattern, tag));
  return effect === 'allow' ? action === 'push' : action === 'delete';
}
