/** The usage page of the registry, for administrators. */

import { type BudgetState, getBudget, getMaintenance } from '../../../app/maintenance.ts';
import { type LargeRepository, listLargest, listUsage, type TotalUsage, type Usage, usageCursor } from '../../../app/usage.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { Page, render } from '../page.tsx';
import { withQuery } from '../parts/addresses.ts';
import { FREE_STORAGE, Meter, metersOfBudget } from '../parts/meter.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Bytes, Chip, When } from '../parts/text.tsx';
import { LARGEST_SHOWN, Largest } from './largest.tsx';

const PAGE_SIZE = 50;

export const registryUsagePages = new Hono<AppEnv>().get('/usage', async (c) => {
  const last = c.req.query('last');
  const call = callOf(c);
  const [{ items, more, total }, budget, maintenance, largest] = await Promise.all([
    listUsage(call, { after: last ?? null, limit: PAGE_SIZE }),
    getBudget(call),
    getMaintenance(call),
    last === undefined ? listLargest(call, null, LARGEST_SHOWN) : [],
  ]);
  const end = items.at(-1);
  const next = more && end ? usageCursor(end) : null;
  const freed = maintenance.collector.finished;
  return render(c, <RegistryUsage {...{ c, items, total, budget, largest, freed, last, next }} />);
});

interface UsageProps {
  c: RequestContext;
  items: Usage[];
  /** The total of all namespaces, on the first page only. */
  total: TotalUsage | null;
  budget: BudgetState;
  largest: LargeRepository[];
  /** The last finished pass of the garbage collector. */
  freed: { finishedAt: number; bytes: number } | null;
  last: string | undefined;
  next: string | null;
}

function RegistryUsage({ c, items, total, budget, largest, freed, last, next }: UsageProps) {
  return (
    <Page c={c} title="Usage" json="/api/v1/usage">
      <header class="subject">
        <h1>Usage</h1>
      </header>
      <div class="halves">
        <section>
          <h2>Organizations and users</h2>
          {items.length === 0 ? (
            <Empty title="Nothing is stored yet" />
          ) : (
            <Table caption="What each organization and user stores" columns={COLUMNS} items={items} />
          )}
          <Pager path="/usage" query={{}} last={last} next={next} />
          {last === undefined ? <h2>Largest repositories</h2> : null}
          {last === undefined ? <Largest repositories={largest} /> : null}
        </section>
        <aside aria-label="Limits and clean-up">
          <Limits total={total} budget={budget} />
          <CleanUp freed={freed} />
        </aside>
      </div>
    </Page>
  );
}

const COLUMNS: Column<Usage>[] = [
  {
    head: 'Namespace',
    cell: ({ namespace }) =>
      namespace === '' ? (
        <span class="soft">without a namespace</span>
      ) : (
        <a class="strong" href={withQuery('/repositories', { namespace })} data-row>
          {namespace}
        </a>
      ),
  },
  { head: 'Blobs', kind: 'number', cell: ({ blobs }) => blobs.toLocaleString('en') },
  { head: 'Stored', kind: 'number', cell: ({ bytes, staged }) => <Bytes value={bytes + staged} /> },
  {
    head: 'Of its limit',
    cell: ({ bytes, staged, maxBytes, warnPercent }) =>
      maxBytes === null ? (
        <span class="soft">no limit</span>
      ) : (
        <>
          <Meter label="Used" used={bytes + staged} of={maxBytes} unit="bytes" />
          {(bytes + staged) * 100 >= maxBytes * warnPercent ? <Chip tone="warn">nearly full</Chip> : null}
        </>
      ),
  },
];

function Limits({ total, budget }: { total: TotalUsage | null; budget: BudgetState }) {
  return (
    <div class="panel">
      <h2>Against the free plan</h2>
      {total === null ? null : <Meter label="Storage" used={total.bytes + total.staged} of={FREE_STORAGE} unit="bytes" />}
      <h3>Background jobs today</h3>
      {metersOfBudget(budget).map((meter) => (
        <Meter {...meter} />
      ))}
      <p class="hint">
        The share of the free plan that background jobs may use. The next day begins <When at={budget.resetsAt} />. What
        requests of people use is counted by Cloudflare: see its dashboard.
      </p>
    </div>
  );
}

function CleanUp({ freed }: { freed: UsageProps['freed'] }) {
  return (
    <div class="panel">
      <h2>Clean up</h2>
      <ul class="notes">
        <li>
          {freed === null ? 'The collector has not finished a pass yet.' : 'The last pass of the collector freed '}
          {freed === null ? null : <Bytes value={freed.bytes} />}
          {freed === null ? null : ', '}
          {freed === null ? null : <When at={freed.finishedAt} />}
        </li>
        <li>Lifecycle rules of a repository say in a preview how many bytes they would bring back.</li>
        <li>What is in the trash is counted on the usage page of each organization.</li>
      </ul>
      <p class="more">
        <a href="/upkeep">Run the collector</a>
        <a href="/trash">Trash</a>
      </p>
    </div>
  );
}
