/** The page of an organization's settings: its description, and its deletion. */

import { deleteOrganization, describeOrganization, getOrganization, type Organization } from '../../../app/organizations.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm, requireConfirmed, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import { ConfirmName, Input, Overtaken, Refusals, type Refused } from '../parts/form.tsx';
import { statusOf, tried } from '../refused.tsx';
import { OrganizationPage, organizationIn } from './frame.tsx';

export const organizationSettingsPages = new Hono<AppEnv>()
  .get('/organizations/:organization/settings', async (c) => {
    const organization = await getOrganization(callOf(c), organizationIn(c));
    return render(c, <Settings c={c} organization={organization} />);
  })
  .post('/organizations/:organization/settings', async (c) => {
    const form = await readForm(c);
    const [name, description] = [organizationIn(c), form.text('description')];
    const outcome = await tried(form, () => describeOrganization(callOf(c), name, description, versionIn(form)));
    if ('done' in outcome) return seeOther(organizationAt(name, 'settings'), 'saved');
    const organization = await getOrganization(callOf(c), name);
    const { refused } = outcome;
    return render(c, <Settings c={c} organization={organization} saving={refused} />, statusOf(refused.refusal));
  })
  .post('/organizations/:organization/settings/deletion', async (c) => {
    const form = await readForm(c);
    const name = organizationIn(c);
    const outcome = await tried(form, async () => {
      requireConfirmed(form, name);
      await deleteOrganization(callOf(c), name, versionIn(form));
    });
    if ('done' in outcome) return seeOther('/organizations', 'deleted');
    const organization = await getOrganization(callOf(c), name);
    const { refused } = outcome;
    return render(c, <Settings c={c} organization={organization} deletion={refused} />, statusOf(refused.refusal));
  });

interface Props {
  c: RequestContext;
  organization: Organization;
  saving?: Refused;
  deletion?: Refused;
}

function Settings({ c, organization, saving, deletion }: Props) {
  const { name, description, version } = organization;
  const { administrator } = callOf(c).authority;
  return (
    <OrganizationPage c={c} organization={name} tab="settings" json="">
      <div class="narrow-panel">
        <form method="post" action={organizationAt(name, 'settings')} class="panel">
          <Refusals refused={saving} />
          <Overtaken refused={saving} now={description} />
          <input type="hidden" name="version" value={String(version)} />
          <Input name="description" label="Description" value={description} max={200} refused={saving} />
          <button type="submit" class="main">
            Save
          </button>
        </form>
        <section class="panel">
          <h2>Storage</h2>
          <p>
            <a href={organizationAt(name, 'usage')}>What {name} stores, and its quota</a>
          </p>
        </section>
        <section class="panel danger">
          <h2>Delete the organization</h2>
          {administrator ? (
            <Deletion name={name} version={version} refused={deletion} />
          ) : (
            <p>An administrator of the registry can delete it.</p>
          )}
        </section>
      </div>
    </OrganizationPage>
  );
}

function Deletion({ name, version, refused }: { name: string; version: number; refused: Refused | undefined }) {
  return (
    <form method="post" action={organizationAt(name, 'settings/deletion')}>
      <Refusals refused={refused} />
      <p>
        It must have no repositories. Its members, teams, robots, keys, trust rules and webhooks go with it, and nobody can take
        its name again. This cannot be undone.
      </p>
      <input type="hidden" name="version" value={String(version)} />
      <ConfirmName expected={name} refused={refused} />
      <button type="submit" class="danger">
        Delete {name}
      </button>
    </form>
  );
}
