/** The pages that list the reader's organizations, create one, and show an organization's repositories. */

import {
  getOrganization,
  listOrganizations,
  type Organization,
  putMember,
  putOrganization,
} from '../../../app/organizations.ts';
import { getUser } from '../../../app/people.ts';
import type { ListedRepository } from '../../../app/repositories.ts';
import { listRepositories } from '../../../app/repository-lists.ts';
import { nameOf, parseName } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, named, readForm } from '../forms.ts';
import { Page, render, seeOther } from '../page.tsx';
import { organizationAt, repositoryAt, withQuery } from '../parts/addresses.ts';
import { Input, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, RowName, Table } from '../parts/table.tsx';
import { Bytes, Chip, Foreign, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { OrganizationPage, organizationIn } from './frame.tsx';

const PAGE_SIZE = 50;

export const organizationListPages = new Hono<AppEnv>()
  .get('/organizations', async (c) => {
    const last = c.req.query('last');
    const { items, more } = await listOrganizations(callOf(c), { after: last ?? '', limit: PAGE_SIZE });
    return render(c, <Organizations c={c} items={items} last={last} next={more ? (items.at(-1)?.name ?? null) : null} />);
  })
  .get('/organizations/-/new', (c) => render(c, <NewOrganization c={c} />))
  .post('/organizations/-/new', async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => create(c, form));
    if ('done' in outcome) return seeOther(organizationAt(outcome.done, 'members'), 'created');
    return render(c, <NewOrganization c={c} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  })
  .get('/organizations/:organization', async (c) => {
    const name = organizationIn(c);
    const last = c.req.query('last');
    const [organization, repositories] = await Promise.all([
      getOrganization(callOf(c), name),
      listRepositories(callOf(c), { after: last ?? '', limit: PAGE_SIZE }, { namespace: name, search: undefined }),
    ]);
    return render(c, <Overview c={c} organization={organization} last={last} {...repositories} />);
  });

/** Creates an organization and its first owner, because a new organization has no members. */
async function create(c: RequestContext, form: Form): Promise<string> {
  const call = callOf(c);
  const owner = parseName(form.text('owner'));
  // Checked first, because an organization without an owner could be managed only by administrators.
  await named('owner', `there is no user ${owner}: nothing was created`, () => getUser(call, `user:${owner}`));
  const { organization } = await named(
    'name',
    'there is an organization of this name already: nothing was created',
    () => putOrganization(call, form.text('name'), form.text('description'), 0),
    'version-mismatch',
  );
  await putMember(call, organization.name, { user: owner, role: 'owner' });
  return organization.name;
}

interface ListProps<T> {
  c: RequestContext;
  items: T[];
  last: string | undefined;
  next: string | null;
}

const COLUMNS: Column<Organization>[] = [
  {
    head: 'Organization',
    cell: ({ name, description }) => <RowName href={organizationAt(name)} name={name} description={description} />,
  },
  { head: 'Created', cell: ({ createdAt }) => <When at={createdAt} /> },
];

function Organizations({ c, items, last, next }: ListProps<Organization>) {
  const { administrator, owns, belongsTo } = callOf(c).authority;
  const role: Column<Organization> = {
    head: 'Your role',
    cell: ({ name }) =>
      owns.includes(name) ? <Chip tone="good">owner</Chip> : belongsTo.includes(name) ? <Chip>member</Chip> : 'administrator',
  };
  return (
    <Page c={c} title="Organizations" section="organizations" json="/api/v1/organizations">
      <header class="subject">
        <h1>Organizations</h1>
        {administrator ? (
          <a class="button main" href="/organizations/-/new">
            New organization
          </a>
        ) : null}
      </header>
      <div id="results" class="spaced">
        {items.length === 0 ? (
          <Empty title="You belong to no organization">
            <p>An organization shares repositories among people, teams, robots and CI jobs.</p>
            {administrator ? null : <p>An administrator of the registry creates one, and its owners invite you.</p>}
          </Empty>
        ) : (
          <Table caption="Organizations, by name" columns={[...COLUMNS.slice(0, 1), role, ...COLUMNS.slice(1)]} items={items} />
        )}
        <Pager path="/organizations" query={{}} last={last} next={next} />
      </div>
    </Page>
  );
}

function NewOrganization({ c, refused }: { c: RequestContext; refused?: Refused }) {
  return (
    <Page c={c} title="New organization" section="organizations">
      <section class="narrow">
        <h1>New organization</h1>
        <form method="post" action="/organizations/-/new" class="panel">
          <Refusals refused={refused} />
          <Input
            name="name"
            label="Name"
            hint="Its repositories are called NAME/… The name cannot be changed."
            max={64}
            mono
            required
            autofocus
            refused={refused}
          />
          <Input name="description" label="Description" max={200} refused={refused} />
          <Input
            name="owner"
            label="First owner"
            hint="The user who manages members, teams and repositories."
            value={nameOf(callOf(c).authority.subject)}
            max={64}
            mono
            required
            refused={refused}
          />
          <button type="submit" class="main">
            Create organization
          </button>
        </form>
      </section>
    </Page>
  );
}

const REPOSITORIES: Column<ListedRepository>[] = [
  {
    head: 'Repository',
    cell: ({ name, description }) => <RowName href={repositoryAt(name)} name={name} description={description} />,
  },
  { head: 'Visibility', cell: ({ visibility }) => <Chip tone={visibility === 'public' ? 'good' : 'plain'}>{visibility}</Chip> },
  { head: 'Tags', kind: 'number', cell: ({ tags }) => tags.toLocaleString('en') },
  { head: 'Size', kind: 'number', cell: ({ bytes }) => <Bytes value={bytes} /> },
];

function Overview({ c, organization, items, last, next }: ListProps<ListedRepository> & { organization: Organization }) {
  const { name, description } = organization;
  const create = withQuery('/repositories/-/new', { namespace: name });
  return (
    <OrganizationPage
      c={c}
      organization={name}
      tab=""
      json=""
      description={<Foreign text={description} />}
      actions={
        <a class="button main" href={create}>
          Create repository
        </a>
      }
    >
      {items.length === 0 && last === undefined && next === null ? (
        <Empty title="No repositories that you may see">
          <p>Create one, or push an image: the first push creates its repository.</p>
        </Empty>
      ) : (
        <Table caption={`Repositories of ${name}`} columns={REPOSITORIES} items={items} />
      )}
      <Pager path={organizationAt(name)} query={{}} last={last} next={next} />
    </OrganizationPage>
  );
}
