/** The page that lists the users of the registry, for administrators, and the form that invites a new one. */

import { inviteUser, listUsers, type User } from '../../../app/people.ts';
import { parseName } from '../../../vocabulary/names.ts';
import type { AppEnv, RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm } from '../forms.ts';
import { InvitationLink } from '../invitation.tsx';
import { Page, render } from '../page.tsx';
import { userAt, withQuery } from '../parts/addresses.ts';
import { Checkbox, Input, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Chip, Foreign, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { administratorCall } from './administrator.ts';

const PAGE_SIZE = 50;

export const userListPages = new Hono<AppEnv>()
  .get('/users', async (c) => {
    const search = c.req.query('search')?.trim() ?? '';
    const last = c.req.query('last');
    const { items, more } = await listUsers(administratorCall(c), { after: last ?? '', limit: PAGE_SIZE, search });
    return render(
      c,
      <Users c={c} search={search} items={items} last={last} next={more ? (items.at(-1)?.name ?? null) : null} />,
    );
  })
  .get('/users/-/new', (c) => {
    administratorCall(c);
    return render(c, <NewUser c={c} />);
  })
  .post('/users/-/new', async (c) => {
    const call = administratorCall(c);
    const form = await readForm(c);
    const outcome = await tried(form, () => {
      const wanted = { administrator: form.has('administrator'), description: form.text('description') };
      return inviteUser(call, `user:${parseName(form.text('name'))}`, wanted, 0);
    });
    if ('done' in outcome) return render(c, <InvitationLink c={c} invited={outcome.done} back="/users" section="account" />);
    return render(c, <NewUser c={c} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  });

const COLUMNS: Column<User>[] = [
  {
    head: 'User',
    cell: ({ name, description, administrator }) => (
      <>
        <a class="strong" href={userAt(name)} data-row>
          {name}
        </a>
        {administrator ? <Chip tone="good">administrator</Chip> : null}
        {description === '' ? null : (
          <span class="soft">
            <Foreign text={description} />
          </span>
        )}
      </>
    ),
  },
  { head: 'State', cell: (user) => <UserState user={user} /> },
  { head: 'Since', cell: ({ createdAt }) => <When at={createdAt} /> },
];

export function UserState({ user: { disabled, joined, invitation } }: { user: User }) {
  if (disabled) return <Chip tone="bad">disabled</Chip>;
  if (joined) return <Chip tone="good">active</Chip>;
  return invitation === null ? <Chip tone="warn">invitation expired</Chip> : <Chip>invited</Chip>;
}

interface UsersProps {
  c: RequestContext;
  search: string;
  items: User[];
  last: string | undefined;
  next: string | null;
}

function Users({ c, search, items, last, next }: UsersProps) {
  return (
    <Page c={c} title="People" section="account" json={withQuery('/api/v1/users', { search })}>
      <header class="subject">
        <h1>People</h1>
        <a class="button main" href="/users/-/new">
          Invite somebody
        </a>
      </header>
      <form class="filters" action="/users" data-filter>
        <label>
          Name or description
          <input name="search" type="search" value={search} maxlength={255} autocomplete="off" data-main-search />
        </label>
        <button type="submit">Filter</button>
        {search === '' ? null : <a href="/users">Clear</a>}
      </form>
      <div id="results" data-results>
        {items.length === 0 ? (
          <Empty title="Nobody matches" />
        ) : (
          <Table caption="Users, by name" columns={COLUMNS} items={items} />
        )}
        <Pager path="/users" query={{ search }} last={last} next={next} />
      </div>
    </Page>
  );
}

function NewUser({ c, refused }: { c: RequestContext; refused?: Refused }) {
  return (
    <Page c={c} title="Invite somebody" section="account">
      <section class="narrow">
        <h1>Invite somebody</h1>
        <form method="post" action="/users/-/new" class="panel">
          <Refusals refused={refused} />
          <Input
            name="name"
            label="User name"
            hint="Their repositories are called NAME/… The name cannot be changed, and is never given to somebody else."
            max={64}
            mono
            required
            autofocus
            refused={refused}
          />
          <Input name="description" label="Who this is" hint="Only administrators see it." max={255} refused={refused} />
          <Checkbox name="administrator" label="Administrator" hint="May do everything in this registry." />
          <p>
            <button type="submit" class="main">
              Make invitation link
            </button>
          </p>
        </form>
      </section>
    </Page>
  );
}
