/** What would change if a policy were saved: who gains and who loses what, by the engine that will decide it then. */
import { type Authority, authoritiesOf, authorityOfGroup, onIdentity, onRepository } from './authority.ts';
import type { Database } from './directory.ts';
import { EVERYONE, nameOf } from './names.ts';
import { ACTIONS, evaluate, matches, type RepositoryAction, type Sourced, type Statement } from './statement.ts';

/** Callers times repositories: what one request may compare within a Worker's CPU time. */
const PAIRS_MAX = 400;

export interface Difference {
  principal: string;
  repository: string;
  gains: Right[];
  loses: Right[];
}

export interface Right {
  action: RepositoryAction;
  /** Patterns; absent: whatever the tag. */
  tags?: string[];
}

/**
 * What would change for one caller and repository between two sets of statements. Tags are compared by the patterns that occur:
 * each by one that it matches.
 */
export function differenceFor(
  { principals, subject }: Pick<Authority, 'principals' | 'subject'>,
  repository: string,
  allBefore: readonly Sourced[],
  allAfter: readonly Sourced[],
): Difference {
  const isAbout = ({ statement }: Sourced) => statement.repositories.some((pattern) => matches(pattern, repository));
  const [before, after] = [allBefore.filter(isAbout), allAfter.filter(isAbout)];
  const patterns = [...new Set([...before, ...after].flatMap(({ statement }) => statement.tags ?? []))];
  const change = (from: readonly Sourced[], to: readonly Sourced[]) =>
    ACTIONS.flatMap((action): Right[] => {
      const may = (statements: readonly Sourced[], tag: string | null) =>
        evaluate(statements, { action, repository, tag, principals }).allowed;
      const won = (tag: string | null) => !may(from, tag) && may(to, tag);
      // A tag that no pattern means stands for all the others.
      if (won(OTHER_TAG)) return [{ action }];
      const tags = patterns.filter((pattern) => won(pattern.replaceAll('*', OTHER_TAG)));
      if (tags.length > 0) return [{ action, tags }];
      return won(null) ? [{ action }] : [];
    });
  return { principal: subject || '*', repository, gains: change(before, after), loses: change(after, before) };
}

const OTHER_TAG = '__any_other_tag__';

export interface Preview {
  changes: Difference[];
  /** There was more to compare than one request may. */
  truncated: boolean;
}

/**
 * @param before the statements saved now
 * @param repositories those that the statements may be about, of a repository's policy that one
 */
export async function previewPolicy(
  env: Database,
  subject: string,
  { before, after, repositories }: { before: Statement[]; after: Statement[]; repositories: string[] },
): Promise<Preview> {
  const people = await peopleConcerned(env, subject, [...before, ...after]);
  const looked = people.slice(0, Math.max(1, Math.floor(PAIRS_MAX / Math.max(1, repositories.length))));
  const authorities = await authoritiesOf(
    env,
    looked.filter((one) => one !== EVERYONE),
    repositories,
  );
  if (looked.includes(EVERYONE)) authorities.push({ ...(await authorityOfGroup(env, EVERYONE, repositories)), subject: '' });
  const changes = authorities.flatMap((authority) =>
    repositories.map((repository) =>
      differenceFor(authority, repository, authority.statements, replaced(authority, subject, after)),
    ),
  );
  return {
    changes: changes.filter(({ gains, loses }) => gains.length + loses.length > 0),
    truncated: looked.length < people.length,
  };
}

/** The caller's statements as they would be. */
function replaced({ statements }: Authority, subject: string, after: readonly Statement[]): Sourced[] {
  const saved = subject.startsWith('repository:') ? onRepository(nameOf(subject), after) : onIdentity(subject, after);
  return [...statements.filter(({ from }) => from !== subject), ...saved];
}

/** Users, robots, and everyone, whom the statements are about. */
async function peopleConcerned(env: Database, subject: string, statements: readonly Statement[]): Promise<string[]> {
  const named = subject.startsWith('repository:') ? statements.flatMap(({ principals }) => principals ?? []) : [subject];
  const { results } = await env.DB.prepare(
    `SELECT user FROM team_members WHERE team IN (SELECT value FROM json_each(?1))
     UNION SELECT user FROM members WHERE organization IN (SELECT substr(value, 14) FROM json_each(?1) WHERE value LIKE 'organization:%')`,
  )
    .bind(JSON.stringify(named))
    .all<{ user: string }>();
  const alone = named.filter((one) => one === EVERYONE || one.startsWith('user:') || one.startsWith('robot:'));
  const denied = statements.some(({ effect, principals }) => effect === 'deny' && principals?.includes(EVERYONE));
  const all = denied ? await everybody(env) : [];
  return [...new Set([...alone, ...results.map(({ user }) => user), ...all])].sort();
}

/** What is denied to everyone takes from whoever had it by any other way. One more than can be compared. */
async function everybody(env: Database): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT subject FROM accounts WHERE subject > 'robot:' AND subject < 'user;' AND disabled = 0 ORDER BY subject LIMIT ?1`,
  )
    .bind(PAIRS_MAX + 1)
    .all<{ subject: string }>();
  return results.map(({ subject }) => subject);
}
