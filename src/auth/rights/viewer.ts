/**
 * What somebody may know of others. Who there is, and who belongs to what, is told to administrators; owners are told of those
 * in their organizations; members see who else is in the organization and its teams; everybody is told of themselves. Of all
 * others an answer rests on their name alone, so that it is the same whether they are there or not.
 */
import { type Authority, anonymous, repositoryStatements, rolesOf } from '../authority.ts';
import { type Database, NOTHING, READ_MAX_BYTES } from '../directory.ts';
import { EVERYONE, nameOf, organizationOf } from '../names.ts';
import { isNarrowed, isUnscopedUser } from '../policy.ts';
import type { Sourced, Statement } from '../statement.ts';
import { authoritiesOf } from './lookup.ts';
import { unbound } from './policy-names.ts';

export interface Viewer {
  /** Empty where the credential is narrowed: such a one is told of nobody. */
  subject: string;
  /** The id of the key that was shown, be it narrowed or not. */
  key: string | null;
  administrator: boolean;
  /** Organizations. */
  owns: readonly string[];
  belongsTo: readonly string[];
}

export function viewerOf(authority: Authority): Viewer {
  const { subject, owns, belongsTo, via, administrator } = authority;
  const key = via.key ?? null;
  if (isNarrowed(authority)) return { subject: '', key, administrator: false, owns: [], belongsTo: [] };
  const whole = isUnscopedUser(authority);
  return { subject, key, administrator: whole && administrator, owns: whole ? owns : [], belongsTo };
}

/** Whether the viewer may know all about a principal that stands under its name alone: a team, a robot, an organization, themselves. */
export function knowsOf({ administrator, subject, owns, belongsTo }: Viewer, principal: string): boolean {
  if (principal === EVERYONE) return false;
  if (administrator || principal === subject) return true;
  if (principal.startsWith('robot:')) return owns.includes(organizationOf(principal));
  if (principal.startsWith('team:')) return belongsTo.includes(organizationOf(principal));
  return principal.startsWith('organization:') && belongsTo.includes(nameOf(principal));
}

/** An organization of the viewer's, or one of its teams. */
export function seesGroup({ administrator, belongsTo }: Viewer, group: string): boolean {
  return administrator || belongsTo.includes(group.startsWith('organization:') ? nameOf(group) : organizationOf(group));
}

/** A principal as the viewer may see it, without the statements of any repository. */
export interface Seen {
  authority: Authority;
  /** Nothing is left out that bears on what they may do. */
  whole: boolean;
}

/**
 * Users and robots, in the order of their names. Those whom the viewer may know all about are left out where they are not there;
 * all others are seen by their names, and by what the viewer's own organizations say of their membership.
 */
export async function seen(
  env: Database,
  viewer: Viewer,
  subjects: readonly string[],
  about: readonly string[],
): Promise<Seen[]> {
  const memberships = await visibleMemberships(env, viewer, subjects);
  const isInside = (subject: string) =>
    knowsOf(viewer, subject) || (memberships.get(subject) ?? []).some(({ organization }) => viewer.owns.includes(organization));
  const inside = subjects.filter(isInside);
  const known = inside.length > 0 ? await authoritiesOf(env, inside, about) : [];
  const byName = subjects
    .filter((subject) => !isInside(subject))
    .map((subject) => ({ authority: byTheirName(subject, memberships.get(subject) ?? []), whole: false }));
  const all = [...known.map((authority) => withoutHidden(viewer, authority)), ...byName];
  return all.sort((a, b) => (a.authority.subject < b.authority.subject ? -1 : 1));
}

/** The same without what they belong to out of the viewer's sight. */
function withoutHidden(viewer: Viewer, authority: Authority): Seen {
  const statements = authority.statements.filter(({ from }) => !from.startsWith('repository:'));
  if (viewer.administrator || authority.subject === viewer.subject) {
    return { authority: { ...authority, statements }, whole: true };
  }
  const isHidden = (group: string) => /^(?:team|organization):/.test(group) && !seesGroup(viewer, group);
  return {
    authority: {
      ...authority,
      principals: authority.principals.filter((principal) => !isHidden(principal)),
      statements: statements.filter(({ from }) => !isHidden(from)),
    },
    whole: true,
  };
}

interface Membership {
  organization: string;
  role: 'owner' | 'member' | null;
  team: string | null;
}

/** What the viewer's organizations say of these users, disabled or not. */
async function visibleMemberships(
  env: Database,
  { administrator, belongsTo }: Viewer,
  subjects: readonly string[],
): Promise<Map<string, Membership[]>> {
  if (administrator || belongsTo.length === 0) return new Map();
  const { results } = await env.DB.prepare(
    `SELECT user, organization, role, NULL AS team FROM members
       WHERE user IN (SELECT value FROM json_each(?1)) AND organization IN (SELECT value FROM json_each(?2))
     UNION ALL SELECT user, o.value, NULL, team FROM team_members JOIN json_each(?2) o
       ON team > 'team:' || o.value || '/' AND team < 'team:' || o.value || '0'
       WHERE user IN (SELECT value FROM json_each(?1))`,
  )
    .bind(JSON.stringify(subjects), JSON.stringify(belongsTo))
    .all<Membership & { user: string }>();
  return Map.groupBy(results, ({ user }) => user);
}

function byTheirName(subject: string, memberships: readonly Membership[]): Authority {
  const groups = memberships.map(({ organization, team }) => team ?? `organization:${organization}`);
  const owned = memberships.flatMap(({ organization, role }) => (role === 'owner' ? [organization] : []));
  return {
    ...anonymous(NOTHING),
    subject,
    principals: [...new Set([subject, unbound(subject), ...groups, EVERYONE])],
    statements: rolesOf(subject, false, owned),
  };
}

/**
 * A group, or anybody, seen by their name: whoever is in a team is in its organization.
 * @param isKnown whether the viewer may know of them; else a name that nobody has is treated as one that somebody has
 */
export function groupByName(group: string, isKnown: boolean): Authority {
  const organization = group.startsWith('team:') ? [`organization:${organizationOf(group)}`] : [];
  return {
    ...anonymous(NOTHING),
    subject: group,
    principals: [...new Set([group, ...(isKnown ? [] : [unbound(group)]), ...organization, EVERYONE])],
  };
}

/** Bytes of policies of repositories that one question reads. */
const REPOSITORIES_MAX_BYTES = 512 * 1024;

/**
 * The own statements of repositories, as many as one question reads: those that are not in the answer were too many. Those
 * without a policy are in it, with none.
 */
export async function statementsOfRepositories(
  env: Database,
  repositories: readonly string[],
): Promise<Map<string, Sourced[]>> {
  const { results } = await env.DB.prepare(
    `WITH sized AS (SELECT subject, octet_length(statements) AS bytes, sum(octet_length(statements)) OVER (ORDER BY subject) AS total
       FROM policies WHERE subject IN (SELECT 'repository:' || value FROM json_each(?1)))
     SELECT sized.subject, total <= ${REPOSITORIES_MAX_BYTES} AS fits,
       iif(total <= ${REPOSITORIES_MAX_BYTES} AND bytes <= ${READ_MAX_BYTES}, statements, NULL) AS statements
     FROM sized JOIN policies USING (subject)`,
  )
    .bind(JSON.stringify(repositories))
    .all<{ subject: string; fits: number; statements: string | null }>();
  const rows = new Map(results.map((row) => [nameOf(row.subject), row]));
  return new Map(
    repositories.flatMap((name): [string, Sourced[]][] => {
      const row = rows.get(name);
      if (!row) return [[name, []]];
      if (!row.fits) return [];
      const policies =
        row.statements === null ? [] : [{ subject: row.subject, statements: JSON.parse(row.statements) as Statement[] }];
      return [[name, repositoryStatements({ ...NOTHING, policies, unread: row.statements === null ? [row.subject] : [] })]];
    }),
  );
}
