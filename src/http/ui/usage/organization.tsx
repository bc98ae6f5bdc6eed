/** The usage page of an organization, for its owners, and the form for its limit, for administrators. */
import type { Context } from 'hono';
import { getOrganizationUsage, listLargest, putOrganizationQuota } from '../../../app/usage.ts';
import { type AppEnv, callOf } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm, versionIn } from '../forms.ts';
import { OrganizationPage, organizationIn } from '../organizations/frame.tsx';
import { render, seeOther } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import type { Refused } from '../parts/form.tsx';
import { statusOf, tried } from '../refused.tsx';
import { LARGEST_SHOWN } from './largest.tsx';
import { NamespaceUsage, quotaIn } from './namespace.tsx';

export const organizationUsagePages = new Hono<AppEnv>()
  .get('/organizations/:organization/usage', (c) => show(c))
  .post('/organizations/:organization/usage', async (c) => {
    const form = await readForm(c);
    const organization = organizationIn(c);
    const outcome = await tried(form, () => putOrganizationQuota(callOf(c), organization, quotaIn(form), versionIn(form)));
    return 'done' in outcome ? seeOther(organizationAt(organization, 'usage'), 'saved') : show(c, outcome.refused);
  });

async function show(c: Context<AppEnv>, refused?: Refused): Promise<Response> {
  const organization = organizationIn(c);
  const [holdings, largest] = await Promise.all([
    getOrganizationUsage(callOf(c), organization),
    listLargest(callOf(c), organization, LARGEST_SHOWN),
  ]);
  const path = organizationAt(organization, 'usage');
  const page = (
    <OrganizationPage c={c} organization={organization} tab="usage" json="usage">
      <NamespaceUsage {...{ c, path, holdings, largest, refused }} whose="the organization" />
    </OrganizationPage>
  );
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}
