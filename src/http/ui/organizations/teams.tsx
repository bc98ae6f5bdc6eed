/** The pages of an organization's teams, and the page of one team: its members and its rights. */

import {
  addTeamMember,
  deleteTeam,
  getTeam,
  listTeamMembers,
  listTeams,
  putTeam,
  removeTeamMember,
  type Team,
} from '../../../app/organizations.ts';
import { getPolicy, type Policy } from '../../../app/policies.ts';
import { nameOf, parseName } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { named, readForm, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import { ActionForm, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, RowName, Table } from '../parts/table.tsx';
import { Foreign, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { isOwnerOf, OrganizationPage, organizationIn } from './frame.tsx';
import {
  answerDeletion,
  answerPolicy,
  CreateForm,
  DeletionForm,
  DescriptionForm,
  nextOf,
  partAt,
  shortName,
  subjectOf,
} from './part.tsx';
import { PolicyForms } from './policy.tsx';

const PAGE_SIZE = 50;

const TEAMS = '/organizations/:organization/teams';
const TEAM = `${TEAMS}/:team`;

export const teamPages = new Hono<AppEnv>()
  .get(TEAMS, async (c) => render(c, <Teams {...(await teamsIn(c))} />))
  .post(TEAMS, async (c) => {
    const form = await readForm(c);
    const organization = organizationIn(c);
    const outcome = await tried(form, () => {
      const team = `team:${organization}/${parseName(form.text('name'))}`;
      const create = () => putTeam(callOf(c), team, form.text('description'), 0);
      return named('name', 'there is a team of this name already: nothing was created', create, 'version-mismatch');
    });
    if ('done' in outcome) return seeOther(partAt(outcome.done.team.subject), 'created');
    return render(c, <Teams {...(await teamsIn(c))} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  })
  .get(TEAM, async (c) => render(c, <TeamView {...(await teamIn(c))} />))
  .post(TEAM, (c) =>
    change(c, 'settings', 'saved', (form) => {
      return putTeam(callOf(c), subjectOf(c, 'team'), form.text('description'), versionIn(form));
    }),
  )
  .post(`${TEAM}/members`, (c) =>
    change(c, 'members', 'saved', (form) => addTeamMember(callOf(c), subjectOf(c, 'team'), parseName(form.text('user')))),
  )
  .post(`${TEAM}/members/:user/removal`, (c) =>
    change(c, 'members', 'removed', () => removeTeamMember(callOf(c), subjectOf(c, 'team'), parseName(c.req.param('user')))),
  )
  .post(`${TEAM}/policy`, (c) => answerPolicy(c, 'team', (refused) => refusedAt(c, 'policy', refused)))
  .post(`${TEAM}/deletion`, (c) =>
    answerDeletion(
      c,
      'team',
      (subject) => deleteTeam(callOf(c), subject, null),
      (refused) => refusedAt(c, 'deletion', refused),
    ),
  );

type Part = 'settings' | 'members' | 'policy' | 'deletion';

/** Runs the change of a form on the page of a team, and shows the page again. */
async function change(
  c: RequestContext,
  part: Part,
  notice: 'saved' | 'removed',
  work: (form: Awaited<ReturnType<typeof readForm>>) => Promise<unknown>,
): Promise<Response> {
  const form = await readForm(c);
  const outcome = await tried(form, () => work(form));
  return 'done' in outcome ? seeOther(partAt(subjectOf(c, 'team')), notice) : refusedAt(c, part, outcome.refused);
}

async function refusedAt(c: RequestContext, part: Part, refused: Refused): Promise<Response> {
  return render(c, <TeamView {...(await teamIn(c))} refusals={{ [part]: refused }} />, statusOf(refused.refusal));
}

interface TeamsProps {
  c: RequestContext;
  organization: string;
  teams: Team[];
  last: string | undefined;
  next: string | null;
  refused?: Refused;
}

async function teamsIn(c: RequestContext): Promise<TeamsProps> {
  const organization = organizationIn(c);
  const last = c.req.query('last');
  const page = await listTeams(callOf(c), organization, { after: last ?? '', limit: PAGE_SIZE });
  return { c, organization, teams: page.items, last, next: nextOf(page) };
}

const COLUMNS: Column<Team>[] = [
  {
    head: 'Team',
    cell: ({ subject, description }) => <RowName href={partAt(subject)} name={shortName(subject)} description={description} />,
  },
  { head: 'Created', cell: ({ createdAt }) => <When at={createdAt} /> },
];

function Teams({ c, organization, teams, last, next, refused }: TeamsProps) {
  return (
    <OrganizationPage c={c} organization={organization} tab="teams" json="teams">
      {isOwnerOf(c, organization) ? <CreateForm organization={organization} kind="team" refused={refused} /> : null}
      {teams.length === 0 ? (
        <Empty title="No teams yet">
          <p>A team gives several members the same rights to repositories.</p>
        </Empty>
      ) : (
        <Table caption={`Teams of ${organization}`} columns={COLUMNS} items={teams} />
      )}
      <Pager path={organizationAt(organization, 'teams')} query={{}} last={last} next={next} />
    </OrganizationPage>
  );
}

interface TeamProps {
  c: RequestContext;
  team: Team;
  members: string[];
  last: string | undefined;
  next: string | null;
  /** The policy of the team, or `null` if the reader may not read it, because only owners may. */
  policy: Policy | null;
  refusals?: Partial<Record<Part, Refused>>;
}

async function teamIn(c: RequestContext): Promise<TeamProps> {
  const call = callOf(c);
  const subject = subjectOf(c, 'team');
  const last = c.req.query('last');
  const [team, { items, more }, policy] = await Promise.all([
    getTeam(call, subject),
    listTeamMembers(call, subject, { after: last ?? '', limit: PAGE_SIZE }),
    isOwnerOf(c, organizationIn(c)) ? getPolicy(call, subject) : null,
  ]);
  return { c, team, members: items, last, next: more ? (items.at(-1) ?? null) : null, policy };
}

function TeamView({ c, team, members, last, next, policy, refusals = {} }: TeamProps) {
  const organization = organizationIn(c);
  const name = shortName(team.subject);
  return (
    <OrganizationPage c={c} organization={organization} tab="teams" title={`${organization}/${name}`} json={`teams/${name}`}>
      <h2 class="sub">Team {name}</h2>
      <p class="soft">
        <Foreign text={team.description} />
      </p>
      <div class="cards wide spaced">
        <MembersOf c={c} team={team} members={members} refused={refusals.members} isOwner={policy !== null}>
          <Pager path={partAt(team.subject)} query={{}} last={last} next={next} />
        </MembersOf>
        {policy === null ? null : (
          <PolicyForms
            policy={policy}
            action={partAt(team.subject, '/policy')}
            organization={organization}
            whose="The team"
            refused={refusals.policy}
          />
        )}
        {policy === null ? null : <Settings team={team} refusals={refusals} />}
      </div>
    </OrganizationPage>
  );
}

interface MembersOfProps {
  c: RequestContext;
  team: Team;
  members: string[];
  isOwner: boolean;
  refused: Refused | undefined;
  children?: unknown;
}

function MembersOf({ c, team, members, isOwner, refused, children }: MembersOfProps) {
  const self = nameOf(callOf(c).authority.subject);
  return (
    <section class="panel">
      <h2>Members</h2>
      <Refusals refused={refused} />
      {members.length === 0 ? <p class="soft">Nobody yet.</p> : null}
      <ul class="lines ruled">
        {members.map((user) => (
          <li>
            <span>{user}</span>
            {isOwner || user === self ? (
              <ActionForm
                action={partAt(team.subject, `/members/${user}/removal`)}
                label={user === self ? 'Leave' : 'Remove'}
                name={user === self ? 'Leave the team' : `Remove ${user}`}
                small
              />
            ) : null}
          </li>
        ))}
      </ul>
      {children}
      {isOwner ? (
        <form method="post" action={partAt(team.subject, '/members')} class="filters">
          <label>
            Member of the organization
            <input name="user" class="mono" maxlength={64} required autocomplete="off" />
          </label>
          <button type="submit">Add to the team</button>
        </form>
      ) : null}
    </section>
  );
}

function Settings({ team, refusals }: { team: Team; refusals: Partial<Record<Part, Refused>> }) {
  return (
    <section class="panel">
      <h2>Settings</h2>
      <DescriptionForm part={team} refused={refusals.settings} />
      <DeletionForm
        subject={team.subject}
        kind="team"
        effect="Its rights end at once. Its members stay in the organization."
        refused={refusals.deletion}
      />
    </section>
  );
}
