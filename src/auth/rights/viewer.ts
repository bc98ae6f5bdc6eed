/**
 * Limits what a caller may know about other people. Administrators know everything. Owners know the accounts in their
 * organizations. Members know the other members of their organizations and teams. All users know themselves. An answer about
 * anybody else is derived from the name alone, so it is the same whether or not that account exists.
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { EVERYONE, nameOf, organizationOf } from '../../vocabulary/names.ts';
import { type Authority, anonymous, rolesOf, statementsOnRepositories } from '../authority.ts';
import { applies } from '../conditions.ts';
import { READ_MAX_BYTES } from '../directory.ts';
import { NOTHING_LOADED } from '../loaded-rights.ts';
import { isNarrowed, isUnscopedUser } from '../policy.ts';
import type { Sourced, Statement } from '../statement.ts';
import { authoritiesOf } from './lookup.ts';
import { unbound } from './policy-names.ts';

/** A caller of whom it matters what the caller may know about people. */
export interface Viewer {
  /** The subject of the caller. Empty for a narrowed credential, which may not know about anybody. */
  subject: string;
  /** The id of the caller's access key, narrowed or not, or `null` for another credential. */
  key: string | null;
  administrator: boolean;
  /** The names of the organizations that the caller owns, and of those to which the caller belongs. */
  owns: readonly string[];
  belongsTo: readonly string[];
}

export function viewerOf(authority: Authority): Viewer {
  const { subject, owns, belongsTo, credentialOrigin, administrator } = authority;
  const key = credentialOrigin.key ?? null;
  if (isNarrowed(authority)) return { subject: '', key, administrator: false, owns: [], belongsTo: [] };
  const whole = isUnscopedUser(authority);
  return { subject, key, administrator: whole && administrator, owns: whole ? owns : [], belongsTo };
}

/**
 * Returns true if the viewer may know everything about a principal because of its name: the viewer is the principal, or the
 * principal is a robot, team or organization of the viewer.
 */
export function knowsOf({ administrator, subject, owns, belongsTo }: Viewer, principal: string): boolean {
  if (principal === EVERYONE) return false;
  if (administrator || principal === subject) return true;
  if (principal.startsWith('robot:')) return owns.includes(organizationOf(principal));
  if (principal.startsWith('team:')) return belongsTo.includes(organizationOf(principal));
  return principal.startsWith('organization:') && belongsTo.includes(nameOf(principal));
}

/** Returns true if the viewer may see the members of an organization or team. */
export function seesGroup({ administrator, belongsTo }: Viewer, group: string): boolean {
  return administrator || belongsTo.includes(group.startsWith('organization:') ? nameOf(group) : organizationOf(group));
}

/** A principal as far as the viewer may see it, without the statements of repositories. */
export interface Seen {
  authority: Authority;
  /** True if nothing is hidden that affects what the principal may do. */
  whole: boolean;
}

/**
 * Returns users and robots as far as the viewer may see them, sorted by name. Accounts about which the viewer may know
 * everything are left out if they do not exist. Other accounts are derived from their names and from their memberships in the
 * viewer's organizations.
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

/** Removes the memberships that the viewer may not see, and the statements that come from them. */
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

/** Reads the memberships of these users in the viewer's organizations. Disabled users are included. */
async function visibleMemberships(
  env: Database,
  { administrator, belongsTo }: Viewer,
  subjects: readonly string[],
): Promise<Map<string, Membership[]>> {
  if (administrator || belongsTo.length === 0) return new Map();
  const { results } = await prepare(
    env,
    `SELECT user, organization, role, NULL AS team FROM members
       WHERE user IN (SELECT value FROM json_each(:subjects)) AND organization IN (SELECT value FROM json_each(:organizations))
     UNION ALL SELECT user, o.value, NULL, team FROM team_members JOIN json_each(:organizations) o
       ON team > 'team:' || o.value || '/' AND team < 'team:' || o.value || '0'
       WHERE user IN (SELECT value FROM json_each(:subjects))`,
    { subjects, organizations: belongsTo },
  ).all<Membership & { user: string }>();
  return Map.groupBy(results, ({ user }) => user);
}

/** Derives the authority of a user or robot from the name and from the memberships that the viewer may see. */
function byTheirName(subject: string, memberships: readonly Membership[]): Authority {
  const groups = memberships.map(({ organization, team }) => team ?? `organization:${organization}`);
  const owned = memberships.flatMap(({ organization, role }) => (role === 'owner' ? [organization] : []));
  return {
    ...anonymous(NOTHING_LOADED),
    subject,
    principals: [...new Set([subject, unbound(subject), ...groups, EVERYONE])],
    statements: rolesOf(subject, false, owned),
  };
}

/**
 * Derives the authority of a group, or of everyone, from the name. A member of a team is also a member of its organization.
 * @param isKnown true if the viewer may know whether the group exists. If false, the result is the same whether or not the
 * group exists
 */
export function groupByName(group: string, isKnown: boolean): Authority {
  const organization = group.startsWith('team:') ? [`organization:${organizationOf(group)}`] : [];
  return {
    ...anonymous(NOTHING_LOADED),
    subject: group,
    principals: [...new Set([group, ...(isKnown ? [] : [unbound(group)]), ...organization, EVERYONE])],
  };
}

/** The maximum number of bytes of repositories' policies that are read for one answer. */
const REPOSITORIES_MAX_BYTES = 512 * 1024;

/**
 * Reads the policies of repositories, up to `REPOSITORIES_MAX_BYTES`. The result has no entry for a repository whose policy did
 * not fit, and an empty list for a repository without a policy.
 */
export async function statementsOfRepositories(
  env: Database,
  repositories: readonly string[],
): Promise<Map<string, Sourced[]>> {
  const { results } = await prepare(
    env,
    `WITH sized AS (
       SELECT subject, octet_length(statements) AS bytes, sum(octet_length(statements)) OVER (ORDER BY subject) AS total
       FROM policies WHERE subject IN (SELECT 'repository:' || value FROM json_each(:repositories)))
     SELECT sized.subject, total <= ${REPOSITORIES_MAX_BYTES} AS fits,
       iif(total <= ${REPOSITORIES_MAX_BYTES} AND bytes <= ${READ_MAX_BYTES}, statements, NULL) AS statements
     FROM sized JOIN policies USING (subject)`,
    { repositories },
  ).all<{ subject: string; fits: number; statements: string | null }>();
  const rows = new Map(results.map((row) => [nameOf(row.subject), row]));
  return new Map(
    repositories.flatMap((name): [string, Sourced[]][] => {
      const row = rows.get(name);
      if (!row) return [[name, []]];
      if (!row.fits) return [];
      const policies =
        row.statements === null
          ? []
          : [
              {
                subject: row.subject,
                statements: (JSON.parse(row.statements) as Statement[]).filter((one) => applies(one, null, '')),
              },
            ];
      return [
        [name, statementsOnRepositories({ ...NOTHING_LOADED, policies, unread: row.statements === null ? [row.subject] : [] })],
      ];
    }),
  );
}
