/** The page of an organization's members: roles, invitations, removing a member, and leaving. */

import {
  listInvitations,
  listMembers,
  type Member,
  type MemberInvitation,
  putMember,
  removeMember,
  withdrawInvitation,
} from '../../../app/organizations.ts';
import { inviteUser } from '../../../app/people.ts';
import { nameOf, parseName } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, named, readForm } from '../forms.ts';
import { InvitationLink } from '../invitation.tsx';
import { render, seeOther } from '../page.tsx';
import { organizationAt, userAt } from '../parts/addresses.ts';
import { ActionForm, Checkbox, Input, Refusals, type Refused, Select } from '../parts/form.tsx';
import { type Column, Pager, Table } from '../parts/table.tsx';
import { Chip, Principal, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { isOwnerOf, OrganizationPage, organizationIn } from './frame.tsx';

const PAGE_SIZE = 50;

const MEMBERS = '/organizations/:organization/members';

export const memberPages = new Hono<AppEnv>()
  .get(MEMBERS, async (c) => render(c, <Members {...(await membersIn(c))} />))
  .post(MEMBERS, async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => invite(c, form));
    if ('refused' in outcome) return refusedAt(c, outcome.refused);
    const { notice, link } = outcome.done;
    const back = organizationAt(organizationIn(c), 'members');
    if (link === null) return seeOther(back, notice);
    return render(c, <InvitationLink c={c} invited={link} back={back} section="organizations" />);
  })
  .post(`${MEMBERS}/:user`, async (c) => {
    const form = await readForm(c);
    const member = { user: parseName(c.req.param('user')), role: roleIn(form) };
    const outcome = await tried(form, () => putMember(callOf(c), organizationIn(c), member));
    if ('refused' in outcome) return refusedAt(c, outcome.refused);
    return seeOther(organizationAt(organizationIn(c), 'members'), 'saved');
  })
  .get(`${MEMBERS}/:user/removal`, (c) => render(c, <Removal c={c} user={parseName(c.req.param('user'))} />))
  .post(`${MEMBERS}/:user/removal`, async (c) => {
    const [form, organization, user] = [await readForm(c), organizationIn(c), parseName(c.req.param('user'))];
    const outcome = await tried(form, () => removeMember(callOf(c), organization, user));
    if ('done' in outcome) {
      return isSelf(c, user) ? seeOther('/account', 'left') : seeOther(organizationAt(organization, 'members'), 'removed');
    }
    return render(c, <Removal c={c} user={user} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  })
  .post('/organizations/:organization/invitations/:user/withdrawal', async (c) => {
    await readForm(c);
    await withdrawInvitation(callOf(c), organizationIn(c), parseName(c.req.param('user')));
    return seeOther(organizationAt(organizationIn(c), 'members'), 'removed');
  });

function roleIn(form: Form): Member['role'] {
  return form.text('role') === 'owner' ? 'owner' : 'member';
}

/** Invites a user. If the reader is an administrator, adds the user at once, and can create a user who does not exist yet. */
async function invite(c: RequestContext, form: Form) {
  const call = callOf(c);
  const user = parseName(form.text('user'));
  const link = form.has('new') ? await inviteUser(call, `user:${user}`, {}, 0) : null;
  const member = { user, role: roleIn(form) };
  const absent = `there is no user ${user}: nobody was invited`;
  const { outcome } = await named('user', absent, () => putMember(call, organizationIn(c), member));
  return { link, notice: outcome === 'invited' ? ('invited' as const) : ('added' as const) };
}

function isSelf(c: RequestContext, user: string): boolean {
  return callOf(c).authority.subject === `user:${user}`;
}

async function refusedAt(c: RequestContext, refused: Refused): Promise<Response> {
  return render(c, <Members {...(await membersIn(c))} refused={refused} />, statusOf(refused.refusal));
}

interface MembersProps {
  c: RequestContext;
  organization: string;
  members: Member[];
  invitations: MemberInvitation[];
  last: string | undefined;
  next: string | null;
  refused?: Refused;
}

async function membersIn(c: RequestContext): Promise<MembersProps> {
  const organization = organizationIn(c);
  const last = c.req.query('last');
  const [{ items, more }, invitations] = await Promise.all([
    listMembers(callOf(c), organization, { after: last ?? '', limit: PAGE_SIZE }),
    isOwnerOf(c, organization) ? listInvitations(callOf(c), organization, { after: '', limit: PAGE_SIZE }) : { items: [] },
  ]);
  const next = more ? (items.at(-1)?.user ?? null) : null;
  return { c, organization, members: items, invitations: invitations.items, last, next };
}

function Members({ c, organization, members, invitations, last, next, refused }: MembersProps) {
  const isOwner = isOwnerOf(c, organization);
  return (
    <OrganizationPage c={c} organization={organization} tab="members" json="members">
      <Refusals refused={refused} />
      {isOwner ? <InviteForm c={c} organization={organization} refused={refused} /> : null}
      {invitations.length === 0 ? null : (
        <>
          <h2>Invited</h2>
          <Table caption="Open invitations" columns={invitationColumns(organization)} items={invitations} />
          <h2>Members</h2>
        </>
      )}
      <Table caption={`Members of ${organization}`} columns={memberColumns(c, organization)} items={members} />
      <Pager path={organizationAt(organization, 'members')} query={{}} last={last} next={next} />
    </OrganizationPage>
  );
}

function InviteForm({ c, organization, refused }: { c: RequestContext; organization: string; refused: Refused | undefined }) {
  const { administrator } = callOf(c).authority;
  return (
    <details class="fold" open={refused !== undefined}>
      <summary class="button main">{administrator ? 'Add a member' : 'Invite a member'}</summary>
      <form method="post" action={organizationAt(organization, 'members')} class="panel narrow-panel">
        <Input
          name="user"
          label="User name"
          hint={
            administrator
              ? 'Administrators add users without asking them.'
              : 'The user must have an account here. They become a member when they accept, in their account.'
          }
          max={64}
          mono
          required
          refused={refused}
        />
        <Select
          name="role"
          label="Role"
          value="member"
          hint="Owners manage members, teams, robots and all repositories of the organization."
          options={[
            ['member', 'Member'],
            ['owner', 'Owner'],
          ]}
          refused={refused}
        />
        {administrator ? (
          <Checkbox name="new" label="New here" hint="Makes the account, and shows a link with which the person joins." />
        ) : null}
        <button type="submit" class="main">
          {administrator ? 'Add member' : 'Invite member'}
        </button>
      </form>
    </details>
  );
}

function memberColumns(c: RequestContext, organization: string): Column<Member>[] {
  const isOwner = isOwnerOf(c, organization);
  const { administrator } = callOf(c).authority;
  const at = (user: string, below = '') => organizationAt(organization, `members/${user}${below}`);
  return [
    {
      head: 'User',
      cell: ({ user }) =>
        administrator ? (
          <a class="strong" href={userAt(user)} data-row>
            {user}
          </a>
        ) : (
          <span class="strong">{user}</span>
        ),
    },
    { head: 'Role', cell: ({ role }) => <Chip tone={role === 'owner' ? 'good' : 'plain'}>{role}</Chip> },
    {
      head: 'Change',
      cell: ({ user, role }) => (
        <div class="actions">
          {isOwner ? (
            <ActionForm
              action={at(user)}
              fields={{ role: role === 'owner' ? 'member' : 'owner' }}
              label={role === 'owner' ? 'Make member' : 'Make owner'}
              name={`${role === 'owner' ? 'Make member' : 'Make owner'}: ${user}`}
              small
            />
          ) : null}
          {isOwner || isSelf(c, user) ? (
            <a
              class="button small danger"
              href={at(user, '/removal')}
              aria-label={isSelf(c, user) ? 'Leave' : `Remove ${user}`}
            >
              {isSelf(c, user) ? 'Leave' : 'Remove'}
            </a>
          ) : null}
        </div>
      ),
    },
  ];
}

function invitationColumns(organization: string): Column<MemberInvitation>[] {
  return [
    { head: 'User', cell: ({ user }) => <span class="strong">{user}</span> },
    { head: 'Role', cell: ({ role }) => <Chip>{role}</Chip> },
    { head: 'Invited by', cell: ({ invitedBy }) => <Principal subject={invitedBy} /> },
    { head: 'Expires', cell: ({ expiresAt }) => <When at={expiresAt} /> },
    {
      head: 'Change',
      cell: ({ user }) => (
        <ActionForm
          action={organizationAt(organization, `invitations/${user}/withdrawal`)}
          label="Withdraw"
          name={`Withdraw the invitation of ${user}`}
          small
        />
      ),
    },
  ];
}

function Removal({ c, user, refused }: { c: RequestContext; user: string; refused?: Refused }) {
  const organization = organizationIn(c);
  const own = nameOf(callOf(c).authority.subject) === user;
  const words = own ? `Leave ${organization}` : `Remove ${user}`;
  return (
    <OrganizationPage c={c} organization={organization} tab="members" title={words}>
      <form method="post" action={organizationAt(organization, `members/${user}/removal`)} class="panel danger narrow-panel">
        <h2>{words}</h2>
        <Refusals refused={refused} />
        <p>
          {own ? 'You leave' : `${user} leaves`} all teams of {organization}, and the policies of its repositories no longer
          allow {own ? 'you' : user} anything by name.{' '}
          {own ? 'An owner can invite you again.' : 'An owner can invite them again.'}
        </p>
        <p class="actions">
          <button type="submit" class="danger">
            {words}
          </button>
          <a href={organizationAt(organization, 'members')}>Back</a>
        </p>
      </form>
    </OrganizationPage>
  );
}
