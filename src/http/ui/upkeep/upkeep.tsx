/** The maintenance page: garbage collection, the scrub job, the consistency check, and the budget of background jobs. */
import type { Context } from 'hono';
import { checkConsistency, collectNow, type Finding, getBudget, getMaintenance, scrubNow } from '../../../app/maintenance.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm } from '../forms.ts';
import { Page, render, seeOther } from '../page.tsx';
import { imageAt, repositoryAt, tagAt } from '../parts/addresses.ts';
import { Notice, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Digest, Foreign } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { Upkeep } from './view.tsx';

export const healthPages = new Hono<AppEnv>()
  .get('/upkeep', (c) => show(c))
  .post('/upkeep/collector', async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => collectNow(callOf(c), { force: form.has('force') }));
    if ('refused' in outcome) return show(c, { job: 'collector', ...outcome.refused });
    return seeOther('/upkeep', outcome.done.ended ? 'pass-finished' : 'slice-ran');
  })
  .post('/upkeep/scrub', async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => scrubNow(callOf(c), { force: form.has('force') }));
    if ('refused' in outcome) return show(c, { job: 'scrub', ...outcome.refused });
    return seeOther('/upkeep', outcome.done.ended ? 'pass-finished' : 'slice-ran');
  })
  .get('/upkeep/check', async (c) => {
    const last = c.req.query('last');
    const { items, next } = await checkConsistency(callOf(c), last);
    return render(c, <Check c={c} items={items} last={last} next={next} />);
  });

async function show(c: Context<AppEnv>, refused?: Refused & { job: 'collector' | 'scrub' }): Promise<Response> {
  const [maintenance, budget] = await Promise.all([getMaintenance(callOf(c)), getBudget(callOf(c))]);
  const page = <Upkeep c={c} {...maintenance} budget={budget} refused={refused} />;
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}

interface CheckProps {
  c: RequestContext;
  items: Finding[];
  last: string | undefined;
  next: string | null;
}

function Check({ c, items, last, next }: CheckProps) {
  const isWhole = next === null && last === undefined;
  return (
    <Page c={c} title="Check of consistency" json="/api/v1/fsck">
      <header class="subject">
        <h1>Check of consistency</h1>
        <p class="description">It reads the database and changes nothing.</p>
      </header>
      {items.length === 0 && next === null ? (
        <Notice>{isWhole ? 'Nothing is wrong.' : 'Nothing is wrong in this last part.'}</Notice>
      ) : null}
      {items.length === 0 && next !== null ? (
        <Empty title="Nothing is wrong so far: the check goes on on the next page" />
      ) : null}
      {items.length === 0 ? null : <Table caption="What is wrong" columns={COLUMNS} items={items} />}
      <Pager path="/upkeep/check" query={{}} last={last} next={next} />
      <p class="more">
        <a href="/upkeep">Health</a>
      </p>
    </Page>
  );
}

const COLUMNS: Column<Finding>[] = [
  { head: 'Problem', cell: ({ problem }) => <Foreign text={problem} /> },
  { head: 'Where', cell: (finding) => <Where finding={finding} /> },
  { head: 'What to do', cell: ({ remedy }) => <Foreign text={remedy} /> },
];

function Where({ finding: { repository, tag, digest } }: { finding: Finding }) {
  if (repository === undefined) return digest === undefined ? <span class="soft">—</span> : <Digest digest={digest} />;
  return (
    <>
      <a href={tag === undefined ? repositoryAt(repository) : tagAt(repository, tag)}>
        {repository}
        {tag === undefined ? '' : `:${tag}`}
      </a>
      {digest === undefined ? null : (
        <span class="soft">
          <Digest digest={digest} href={imageAt(repository, digest)} />
        </span>
      )}
    </>
  );
}
