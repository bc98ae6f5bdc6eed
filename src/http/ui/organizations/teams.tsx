/** The teams of an organization, and the page of one team: its members and its rights. */
import { Hono } from 'hono';
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
import { named, readForm, requireConfirmed, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import { ActionForm, ConfirmName, Input, Overtaken, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Foreign, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { isOwnerOf, OrganizationPage, organizationIn } from './frame.tsx';
import { changePolicy, PolicyForms, PolicyReview } from './policy.tsx';

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
    if ('done' in outcome) return seeOther(at(outcome.done.team.subject), 'created');
    return render(c, <Teams {...(await teamsIn(c))} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  })
  .get(TEAM, async (c) => render(c, <TeamView {...(await teamIn(c))} />))
  .post(TEAM, (c) =>
    change(c, 'settings', 'saved', (form) => {
      return putTeam(callOf(c), subjectIn(c), form.text('description'), versionIn(form));
    }),
  )
  .post(`${TEAM}/members`, (c) =>
    change(c, 'members', 'saved', (form) => addTeamMember(callOf(c), subjectIn(c), parseName(form.text('user')))),
  )
  .post(`${TEAM}/members/:user/removal`, (c) =>
    change(c, 'members', 'removed', () => removeTeamMember(callOf(c), subjectIn(c), parseName(c.req.param('user')))),
  )
  .post(`${TEAM}/policy`, async (c) => {
    const form = await readForm(c);
    const team = subjectIn(c);
    const outcome = await tried(form, () => changePolicy(c, team, form));
    if ('refused' in outcome) return refusedAt(c, 'policy', outcome.refused);
    if (outcome.done === null) return seeOther(at(team), 'saved');
    return render(
      c,
      <OrganizationPage c={c} organization={organizationIn(c)} tab="teams" title={`Rights of ${shortName(team)}`}>
        <PolicyReview review={outcome.done} action={at(team, '/policy')} back={at(team)} />
      </OrganizationPage>,
    );
  })
  .post(`${TEAM}/deletion`, async (c) => {
    const form = await readForm(c);
    const team = subjectIn(c);
    const outcome = await tried(form, async () => {
      requireConfirmed(form, shortName(team));
      await deleteTeam(callOf(c), team, null);
    });
    if ('done' in outcome) return seeOther(organizationAt(organizationIn(c), 'teams'), 'deleted');
    return refusedAt(c, 'deletion', outcome.refused);
  });

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
  return 'done' in outcome ? seeOther(at(subjectIn(c)), notice) : refusedAt(c, part, outcome.refused);
}

async function refusedAt(c: RequestContext, part: Part, refused: Refused): Promise<Response> {
  return render(c, <TeamView {...(await teamIn(c))} refusals={{ [part]: refused }} />, statusOf(refused.refusal));
}

function subjectIn(c: RequestContext): string {
  return `team:${organizationIn(c)}/${parseName(c.req.param('team') ?? '')}`;
}

function shortName(subject: string): string {
  return nameOf(subject).split('/')[1] ?? '';
}

/** @param team the subject of a team */
function at(team: string, below = ''): string {
  const [organization = '', name = ''] = nameOf(team).split('/');
  return organizationAt(organization, `teams/${name}${below}`);
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
  const { items, more } = await listTeams(callOf(c), organization, { after: last ?? '', limit: PAGE_SIZE });
  const end = items.at(-1);
  return { c, organization, teams: items, last, next: more && end ? shortName(end.subject) : null };
}

const COLUMNS: Column<Team>[] = [
  {
    head: 'Team',
    cell: ({ subject, description }) => (
      <>
        <a class="strong" href={at(subject)} data-row>
          {shortName(subject)}
        </a>
        {description === '' ? null : (
          <span class="soft">
            <Foreign text={description} />
          </span>
        )}
      </>
    ),
  },
  { head: 'Created', cell: ({ createdAt }) => <When at={createdAt} /> },
];

function Teams({ c, organization, teams, last, next, refused }: TeamsProps) {
  return (
    <OrganizationPage c={c} organization={organization} tab="teams" json="teams">
      {isOwnerOf(c, organization) ? (
        <details class="fold" open={refused !== undefined}>
          <summary class="button main">Create a team</summary>
          <form method="post" action={organizationAt(organization, 'teams')} class="panel narrow-panel">
            <Refusals refused={refused} />
            <Input name="name" label="Name" max={64} mono required refused={refused} />
            <Input name="description" label="Description" max={200} refused={refused} />
            <button type="submit" class="main">
              Create team
            </button>
          </form>
        </details>
      ) : null}
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
  /** `null` if the reader may not read it: only owners may. */
  policy: Policy | null;
  refusals?: Partial<Record<Part, Refused>>;
}

async function teamIn(c: RequestContext): Promise<TeamProps> {
  const call = callOf(c);
  const subject = subjectIn(c);
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
          <Pager path={at(team.subject)} query={{}} last={last} next={next} />
        </MembersOf>
        {policy === null ? null : (
          <PolicyForms
            policy={policy}
            action={at(team.subject, '/policy')}
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
                action={at(team.subject, `/members/${user}/removal`)}
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
        <form method="post" action={at(team.subject, '/members')} class="filters">
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
      <form method="post" action={at(team.subject)}>
        <Refusals refused={refusals.settings} />
        <Overtaken refused={refusals.settings} now={team.description} />
        <input type="hidden" name="version" value={String(team.version)} />
        <Input name="description" label="Description" value={team.description} max={200} refused={refusals.settings} />
        <button type="submit">Save</button>
      </form>
      <details class="fold spaced" open={refusals.deletion !== undefined}>
        <summary>Delete the team</summary>
        <form method="post" action={at(team.subject, '/deletion')}>
          <Refusals refused={refusals.deletion} />
          <p>Its rights end at once. Its members stay in the organization. This cannot be undone.</p>
          <ConfirmName expected={shortName(team.subject)} refused={refusals.deletion} />
          <button type="submit" class="danger">
            Delete the team
          </button>
        </form>
      </details>
    </section>
  );
}
