/** The usage of an organization, for its owners, and its limit, which administrators set. */
import type { Context } from 'hono';
import type { FC } from 'hono/jsx';
import {
  getOrganizationUsage,
  type Holdings,
  type LargeRepository,
  listLargest,
  putOrganizationQuota,
} from '../../../app/usage.ts';
import { invalidInput } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, readForm, versionIn } from '../forms.ts';
import { OrganizationPage, organizationIn } from '../organizations/frame.tsx';
import { render, seeOther } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import { Input, Refusals, type Refused } from '../parts/form.tsx';
import { Meter } from '../parts/meter.tsx';
import { Bytes, countText, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { LARGEST_SHOWN, Largest } from './largest.tsx';

const GIGABYTE = 1e9;

export const organizationUsagePages = new Hono<AppEnv>()
  .get('/organizations/:organization/usage', (c) => show(c))
  .post('/organizations/:organization/usage', async (c) => {
    const form = await readForm(c);
    const organization = organizationIn(c);
    const outcome = await tried(form, () => putOrganizationQuota(callOf(c), organization, quotaIn(form), versionIn(form)));
    return 'done' in outcome ? seeOther(organizationAt(organization, 'usage'), 'saved') : show(c, outcome.refused);
  });

/** @throws request-invalid */
function quotaIn(form: Form): { maxBytes: number | null; warnPercent: number } {
  const [limit, warn] = [form.text('limit').replace(',', '.'), form.text('warnPercent')];
  if (limit !== '' && !/^\d{1,9}(\.\d{1,9})?$/.test(limit))
    throw invalidInput({ at: 'limit', message: 'must be a number of GB' });
  if (!/^[1-9]\d?$|^100$/.test(warn)) throw invalidInput({ at: 'warnPercent', message: 'must be a number from 1 to 100' });
  return { maxBytes: limit === '' ? null : Math.round(Number(limit) * GIGABYTE), warnPercent: Number(warn) };
}

async function show(c: Context<AppEnv>, refused?: Refused): Promise<Response> {
  const organization = organizationIn(c);
  const [holdings, largest] = await Promise.all([
    getOrganizationUsage(callOf(c), organization),
    listLargest(callOf(c), organization, LARGEST_SHOWN),
  ]);
  const page = <OrganizationUsage {...{ c, organization, holdings, largest, refused }} />;
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}

interface UsageProps {
  c: RequestContext;
  organization: string;
  holdings: Holdings;
  largest: LargeRepository[];
  refused: Refused | undefined;
}

function OrganizationUsage({ c, organization, holdings, largest, refused }: UsageProps) {
  const { bytes, staged, maxBytes, trash } = holdings;
  const { administrator } = callOf(c).authority;
  return (
    <OrganizationPage c={c} organization={organization} tab="usage" json="usage">
      <div class="halves">
        <section>
          <h2>Storage</h2>
          <div class="panel">
            <Meter label="Stored" used={bytes + staged} of={maxBytes} unit="bytes" />
            <Counts holdings={holdings} />
          </div>
          <h2>Largest repositories</h2>
          <Largest repositories={largest} />
        </section>
        <aside aria-label="Clean-up and limit">
          <CleanUp trash={trash} />
          {administrator ? (
            <QuotaForm organization={organization} holdings={holdings} refused={refused} />
          ) : (
            <p class="hint">An administrator sets the limit of the organization.</p>
          )}
        </aside>
      </div>
    </OrganizationPage>
  );
}

const Counts: FC<{ holdings: Holdings }> = ({ holdings: { repositories, tags, manifests, blobs, staged, countedAt } }) => {
  const shown = (count: number | null) => (count === null ? 'too many to count' : count.toLocaleString('en'));
  return (
    <dl class="facts">
      <dt>Repositories</dt>
      <dd>{shown(repositories)}</dd>
      <dt>Tags</dt>
      <dd>{shown(tags)}</dd>
      <dt>Images</dt>
      <dd>{shown(manifests)}</dd>
      <dt>Layers and configs</dt>
      <dd>{shown(blobs)}</dd>
      <dt>Unfinished uploads</dt>
      <dd>
        <Bytes value={staged} />
      </dd>
      <dt>Counted</dt>
      <dd>
        <When at={countedAt === 0 ? null : countedAt} none="not yet" />
      </dd>
    </dl>
  );
};

const CleanUp: FC<{ trash: Holdings['trash'] }> = ({ trash: { bytes, repositories, tags, manifests } }) => (
  <div class="panel">
    <h2>Clean up</h2>
    <p>Emptying the trash would bring back {bytes === null ? 'bytes that are too many to count' : <Bytes value={bytes} />}.</p>
    <p class="hint">
      It holds {countText(repositories ?? 0, 'repository', 'repositories')}, {countText(tags ?? 0, 'tag')} and{' '}
      {countText(manifests ?? 0, 'image')}, and empties itself after some days.
    </p>
    <p class="hint">The preview of the lifecycle rules of a repository says what they would bring back.</p>
  </div>
);

const QuotaForm: FC<{ organization: string; holdings: Holdings; refused: Refused | undefined }> = (props) => {
  const { organization, holdings, refused } = props;
  return (
    <form method="post" action={organizationAt(organization, 'usage')} class="panel">
      <h2>Limit</h2>
      <Refusals refused={refused} />
      <input type="hidden" name="version" value={String(holdings.version)} />
      <Input
        name="limit"
        label="GB that may be stored"
        hint="Empty: no limit. What is stored beyond a new limit stays."
        value={holdings.maxBytes === null ? '' : String(holdings.maxBytes / GIGABYTE)}
        refused={refused}
      />
      <Input
        name="warnPercent"
        label="Warn at, in percent"
        hint="Recorded once as the event quota.warned, which webhooks can send."
        type="number"
        value={String(holdings.warnPercent)}
        refused={refused}
      />
      <button type="submit" class="main">
        Save limit
      </button>
    </form>
  );
};
