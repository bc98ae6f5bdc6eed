/** The HTML of the maintenance page. */
import type { Child, FC } from 'hono/jsx';
import type { BudgetState, getMaintenance, Passes } from '../../../app/maintenance.ts';
import type { Job } from '../../../vocabulary/jobs.ts';
import type { RequestContext } from '../../context.ts';
import { Page } from '../page.tsx';
import { Checkbox, Notice, Refusals, type Refused } from '../parts/form.tsx';
import { Meter, metersOfBudget } from '../parts/meter.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { bytesText, Chip, countText, Foreign, When } from '../parts/text.tsx';

type Maintenance = Awaited<ReturnType<typeof getMaintenance>>;
type ReportOf<P> = P extends Passes<infer R> ? R : never;

interface UpkeepProps extends Maintenance {
  c: RequestContext;
  budget: BudgetState;
  refused: (Refused & { job: 'collector' | 'scrub' }) | undefined;
}

export const Upkeep: FC<UpkeepProps> = ({ c, collector, scrub, budget, refused }) => (
  <Page c={c} title="Health" json="/api/v1/gc">
    <header class="subject">
      <h1>Health</h1>
    </header>
    <Summary scrub={scrub} budget={budget} />
    <div class="cards">
      <JobPanel
        title="Collector"
        job="collector"
        about="Deletes what nothing needs any more, and what the trash has kept long enough."
        passes={collector}
        refused={refused?.job === 'collector' ? refused : undefined}
        done={collectedText}
      />
      <JobPanel
        title="Scrub"
        job="scrub"
        about="Compares what is stored with what should be, and finds damaged and missing content."
        passes={scrub}
        refused={refused?.job === 'scrub' ? refused : undefined}
        done={scrubbedText}
      />
      <section class="panel" aria-labelledby="check">
        <h2 id="check">Check of consistency</h2>
        <p>Reads the database and looks for rows that contradict each other. It changes nothing.</p>
        <p>
          <a class="button" href="/upkeep/check">
            Check now
          </a>
        </p>
      </section>
    </div>
    <Budget budget={budget} />
  </Page>
);

const Summary: FC<{ scrub: Maintenance['scrub']; budget: BudgetState }> = ({ scrub, budget }) => {
  const report = scrub.running ?? scrub.finished;
  const bad = report === null ? 0 : report.damaged + report.missing;
  const stopped = budget.jobs.filter((one) => one.stopped !== null);
  if (bad > 0) {
    return (
      <Notice tone="bad">
        The scrub found {countText(bad, 'object')} damaged or missing. Pushing the images again repairs them.
      </Notice>
    );
  }
  if (stopped.length > 0) {
    return (
      <Notice tone="warn">
        {countText(stopped.length, 'job has', 'jobs have')} used up the share of the day, and goes on{' '}
        <When at={budget.resetsAt} />.
      </Notice>
    );
  }
  if (report === null) return <Notice tone="plain">No job is stopped. The scrub has not finished a pass yet.</Notice>;
  return <Notice>All is well: no job is stopped, and the last scrub found nothing wrong.</Notice>;
};

function collectedText(report: ReportOf<Maintenance['collector']>): string {
  const { blobs, bytes, purged } = report;
  const trash = countText(purged, 'entry', 'entries');
  return `${countText(blobs, 'blob')} deleted, ${bytesText(bytes)} freed, ${trash} of the trash`;
}

function scrubbedText(report: ReportOf<Maintenance['scrub']>): string {
  const { objects, hashed, damaged, missing, orphans } = report;
  const found = `${countText(objects, 'object')} looked at, ${hashed.toLocaleString('en')} of them read`;
  return `${found}; ${damaged} damaged, ${missing} missing, ${orphans} without a row deleted`;
}

interface PanelProps<R extends { problems: string[] }> {
  title: string;
  job: 'collector' | 'scrub';
  about: string;
  passes: Passes<R>;
  refused: Refused | undefined;
  done: (report: R) => string;
}

function JobPanel<R extends { problems: string[] }>({
  title,
  job,
  about,
  passes: { running, finished },
  refused,
  done,
}: PanelProps<R>) {
  const problems = running?.problems ?? finished?.problems ?? [];
  return (
    <section class="panel" aria-labelledby={job}>
      <h2 id={job}>{title}</h2>
      <p>{about}</p>
      <dl class="facts">
        <dt>Last pass</dt>
        <dd>
          {finished === null ? 'none finished yet' : <When at={finished.finishedAt} />}
          {finished === null ? null : <span class="under">{done(finished)}</span>}
        </dd>
        <dt>Now</dt>
        <dd>
          {running === null ? 'nothing to do' : 'a pass that began '}
          {running === null ? null : <When at={running.startedAt} />}
          {running === null ? null : <span class="under">{done(running)}</span>}
        </dd>
      </dl>
      <Problems problems={problems} />
      <form method="post" action={`/upkeep/${job}`}>
        <Refusals refused={refused} />
        {refused === undefined ? null : <Checkbox name="force" label="Run even so, beyond the share of the day" />}
        <button type="submit">Run now</button>
      </form>
    </section>
  );
}

const Problems: FC<{ problems: string[] }> = ({ problems }) => {
  if (problems.length === 0) return null;
  return (
    <details class="more">
      <summary>{countText(problems.length, 'problem')}</summary>
      <ul class="notes">
        {problems.map((problem) => (
          <li>
            <Foreign text={problem} />
          </li>
        ))}
      </ul>
    </details>
  );
};

const JOB_WORDS: Record<Job, string> = {
  deliveries: 'Deliveries of webhooks',
  expiry: 'Removal of what has expired',
  collector: 'Collector',
  scrub: 'Scrub',
  lifecycle: 'Lifecycle rules',
};

const Budget: FC<{ budget: BudgetState }> = ({ budget }) => (
  <section aria-labelledby="budget">
    <h2 id="budget">Background jobs today</h2>
    <p class="soft">
      Background jobs may use a share of the day's limits of the database, so that pushes and pulls always have the rest. The
      next day begins <When at={budget.resetsAt} />.
    </p>
    <div class="panel meters">
      {metersOfBudget(budget).map((meter) => (
        <Meter {...meter} />
      ))}
    </div>
    <Table caption="What each job has used today" columns={COLUMNS} items={budget.jobs} />
  </section>
);

const number = (value: number): Child => (Number.isFinite(value) ? value.toLocaleString('en') : 'no limit');

const COLUMNS: Column<BudgetState['jobs'][number]>[] = [
  { head: 'Job', cell: ({ job }) => <span class="strong">{JOB_WORDS[job]}</span> },
  { head: 'Rows read', kind: 'number', cell: ({ spent }) => number(spent.rowsRead) },
  { head: 'Rows written', kind: 'number', cell: ({ spent }) => number(spent.rowsWritten) },
  { head: 'Writes left', kind: 'number', cell: ({ left }) => number(left.rowsWritten) },
  {
    head: 'State',
    cell: ({ stopped }) =>
      stopped === null ? (
        <Chip tone="good">runs</Chip>
      ) : (
        <Chip tone="warn" title={stopped}>
          waits for tomorrow
        </Chip>
      ),
  },
];
