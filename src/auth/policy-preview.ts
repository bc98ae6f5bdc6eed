/** What would change if a policy were saved: who gains and who loses what, by the engine that will decide it then. */

import { type Authority, onIdentity, onRepository } from './authority.ts';
import type { Database } from './directory.ts';
import { authoritiesOf, authorityOfGroup } from './lookup.ts';
import { EVERYONE, nameOf, organizationOf } from './names.ts';
import { requireWithin } from './policies.ts';
import { shownPrincipal, unbound } from './policy-names.ts';
import { ACTIONS, evaluate, isAbout, type RepositoryAction, type Sourced, type Statement } from './statement.ts';
import { checkStatements } from './statement-limits.ts';

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
  const isRelevant = ({ statement }: Sourced) => isAbout(statement.repositories, repository);
  const [before, after] = [allBefore.filter(isRelevant), allAfter.filter(isRelevant)];
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
  return { principal: subject, repository, gains: change(before, after), loses: change(after, before) };
}

const OTHER_TAG = '__any_other_tag__';

export interface Preview {
  changes: Difference[];
  /** There was more to compare than one request may. */
  truncated: boolean;
}

export interface Plan {
  /** The statements saved now. */
  before: Statement[];
  after: Statement[];
  /** Those that the statements may be about, of a repository's policy that one. */
  repositories: string[];
}

/**
 * @param asker is told of people one by one only as far as they may know of them
 * @throws INVALID for statements that could not be saved
 */
export async function previewPolicy(env: Database, subject: string, plan: Plan, asker: Authority): Promise<Preview> {
  const { before, after, repositories } = plan;
  checkStatements(after);
  requireWithin(subject, after);
  const { people, others } = await concerned(env, subject, [...before, ...after], asker);
  const room = Math.max(1, Math.floor(PAIRS_MAX / Math.max(1, repositories.length)));
  const stranger = await authorityOfGroup(env, EVERYONE, repositories);
  const authorities = [
    ...(await authoritiesOf(env, people.slice(0, room), repositories)),
    ...others.map((other) => ({ ...stranger, subject: other, principals: [...new Set([other, unbound(other), EVERYONE])] })),
  ];
  const changes = authorities
    .slice(0, room)
    .flatMap((authority) =>
      repositories.map((repository) =>
        differenceFor(authority, repository, authority.statements, replaced(authority, subject, after)),
      ),
    );
  return {
    changes: changes.filter(({ gains, loses }) => gains.length + loses.length > 0),
    truncated: people.length + others.length > room,
  };
}

/** The caller's statements as they would be. */
function replaced({ statements }: Authority, subject: string, after: readonly Statement[]): Sourced[] {
  const saved = subject.startsWith('repository:') ? onRepository(nameOf(subject), after) : onIdentity(subject, after);
  return [...statements.filter(({ from }) => from !== subject), ...saved];
}

interface Concerned {
  /** Users and robots, to be judged by all that they are. */
  people: string[];
  /** Everyone, and whom the asker may not know of: judged by what the statements say of them, be they there or not. */
  others: string[];
}

/** Whom the statements are about. Who belongs to a team or an organization is told to those who belong there too. */
async function concerned(
  env: Database,
  subject: string,
  statements: readonly Statement[],
  asker: Authority,
): Promise<Concerned> {
  const named = subject.startsWith('repository:')
    ? statements.flatMap(({ principals }) => principals?.map(shownPrincipal) ?? [])
    : [subject];
  const denied = statements.some(({ effect, principals }) => effect === 'deny' && principals?.includes(EVERYONE));
  const groups = named.filter((one) => isKnown(asker, one));
  const wanted = [JSON.stringify(groups), JSON.stringify(named), Number(denied), PAIRS_MAX + 1];
  const { results } = await env.DB.prepare(PEOPLE)
    .bind(...wanted, JSON.stringify(asker.belongsTo), Number(asker.administrator))
    .all<{ subject: string }>();
  const people = new Set([...results.map((row) => row.subject), ...groups.filter(isPerson)]);
  const others = named.filter((one) => one === EVERYONE || !(people.has(one) || groups.includes(one)));
  return { people: [...people].sort(), others: [...new Set(others)].sort() };
}

function isPerson(principal: string): boolean {
  return principal.startsWith('user:') || principal.startsWith('robot:');
}

/** Without asking the database: of users, only administrators know them all. */
function isKnown({ administrator, principals, belongsTo }: Authority, principal: string): boolean {
  if (principal === EVERYONE) return false;
  const organization = principal.startsWith('organization:') ? nameOf(principal) : organizationOf(principal);
  return administrator || principals.includes(principal) || belongsTo.includes(organization);
}

/**
 * Members of groups ?1; of the asker's organizations ?5, those who are named in ?2. Where ?3 says that something is denied to
 * everyone, all of these organizations, and for an administrator (?6) of the registry. ?4 at most.
 */
const PEOPLE = `SELECT user AS subject FROM team_members WHERE team IN (SELECT value FROM json_each(?1))
  UNION SELECT user FROM members
    WHERE organization IN (SELECT substr(value, 14) FROM json_each(?1) WHERE value LIKE 'organization:%')
  UNION SELECT user FROM members
    WHERE organization IN (SELECT value FROM json_each(?5)) AND (?3 OR user IN (SELECT value FROM json_each(?2)))
  UNION SELECT subject FROM accounts WHERE ?3 AND ?6 AND subject > 'robot:' AND subject < 'user;' AND disabled = 0
  ORDER BY 1 LIMIT ?4`;
