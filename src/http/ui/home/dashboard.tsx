/** The home page for a signed-in user. */
import type { LoggedActivity } from '../../../app/activity.ts';
import type { Attention, TroubledWebhook } from '../../../app/home.ts';
import type { BudgetState } from '../../../app/maintenance.ts';
import type { ListedRepository } from '../../../app/repositories.ts';
import type { TotalUsage } from '../../../app/usage.ts';
import { nameOf } from '../../../vocabulary/names.ts';
import { callOf, hostOf, type RequestContext } from '../../context.ts';
import { Page } from '../page.tsx';
import { repositoryAt, webhookAt } from '../parts/addresses.ts';
import { Sentence } from '../parts/event.tsx';
import { FREE_STORAGE, Meter, metersOfBudget } from '../parts/meter.tsx';
import { Empty } from '../parts/table.tsx';
import { Bytes, Chip, Command, countText, Foreign, Icon, When } from '../parts/text.tsx';

interface DashboardProps {
  c: RequestContext;
  attention: Attention;
  repositories: ListedRepository[];
  events: LoggedActivity[];
  /** Numbers that only administrators see. */
  numbers: { total: TotalUsage | null; budget: BudgetState } | null;
}

export function Dashboard({ c, attention, repositories, events, numbers }: DashboardProps) {
  const { subject } = callOf(c).authority;
  return (
    <Page c={c} title="Home">
      <header class="subject">
        <h1>Home</h1>
        <a class="button main" href="/repositories/-/new">
          Create repository
        </a>
      </header>
      <NeedsAttention attention={attention} />
      <div class="halves">
        <section>
          <h2>Recent repositories</h2>
          <Repositories repositories={repositories} />
          <h2>Recent activity</h2>
          <Events events={events} />
        </section>
        <aside aria-label="Commands and usage">
          <Commands host={hostOf(c)} name={nameOf(subject)} />
          {numbers ? <Today {...numbers} /> : null}
        </aside>
      </div>
    </Page>
  );
}

function NeedsAttention({ attention: { webhooks, keys } }: { attention: Attention }) {
  if (webhooks.length + keys.length === 0) return null;
  return (
    <section class="notice warn" aria-labelledby="attention">
      <h2 id="attention">Needs attention</h2>
      <ul>
        {webhooks.map((webhook) => (
          <li>
            <TroubledText webhook={webhook} />
          </li>
        ))}
        {keys.map(({ name, id, expiresAt }) => (
          <li>
            The access key{' '}
            <a href="/account/keys">
              <Foreign text={name || id} />
            </a>{' '}
            ends <When at={expiresAt} />.
          </li>
        ))}
      </ul>
    </section>
  );
}

function TroubledText({ webhook: { id, scope, description, disabled, openUntil } }: { webhook: TroubledWebhook }) {
  const of = scope === 'registry' ? 'of the registry' : `of ${nameOf(scope)}`;
  return (
    <>
      The webhook{' '}
      <a href={webhookAt(id)}>
        <Foreign text={description || id} />
      </a>{' '}
      {of} {disabled === null ? 'is paused after failures, and sends again ' : 'is disabled.'}
      {disabled === null ? <When at={openUntil} /> : null}
    </>
  );
}

function Repositories({ repositories }: { repositories: ListedRepository[] }) {
  if (repositories.length === 0) {
    return (
      <Empty title="No repositories yet">
        <p>Push an image: the first push creates its repository.</p>
      </Empty>
    );
  }
  return (
    <>
      <ul class="rows panel">
        {repositories.map(({ name, visibility, tags, bytes, lastPushedAt }) => (
          <li>
            <a class="strong" href={repositoryAt(name)} data-row>
              {name}
            </a>
            {visibility === 'private' ? <Icon name="lock" /> : <Chip tone="good">public</Chip>}
            <span class="soft end">
              {countText(tags, 'tag')}, <Bytes value={bytes} />
              {lastPushedAt === null ? null : ', pushed '}
              {lastPushedAt === null ? null : <When at={lastPushedAt} />}
            </span>
          </li>
        ))}
      </ul>
      <p class="more">
        <a href="/repositories">All repositories</a>
      </p>
    </>
  );
}

function Events({ events }: { events: LoggedActivity[] }) {
  if (events.length === 0) return <p class="soft">Nothing happened yet.</p>;
  return (
    <>
      <ul class="rows panel">
        {events.map((event) => (
          <li>
            <Sentence event={event} />
            <span class="soft end">
              <When at={event.at} />
            </span>
          </li>
        ))}
      </ul>
      <p class="more">
        <a href="/activity">All activity</a>
      </p>
    </>
  );
}

function Commands({ host, name }: { host: string; name: string }) {
  return (
    <div class="panel">
      <h2>Push an image</h2>
      <p class="hint">The password is an access key, or a password for docker only.</p>
      <Command command={`docker login ${host} -u ${name}`} />
      <Command command={`docker tag IMAGE ${host}/${name}/IMAGE:latest`} />
      <Command command={`docker push ${host}/${name}/IMAGE:latest`} />
      <p class="more">
        <a href="/account/logins">Log in with docker</a>
        <a href="/account/keys">Access keys</a>
      </p>
    </div>
  );
}

function Today({ total, budget }: { total: TotalUsage | null; budget: BudgetState }) {
  return (
    <div class="panel">
      <h2>Usage today</h2>
      {total === null ? null : <Meter label="Storage" used={total.bytes + total.staged} of={FREE_STORAGE} unit="bytes" />}
      {metersOfBudget(budget).map((meter) => (
        <Meter {...meter} />
      ))}
      <p class="hint">
        Storage is compared with the free plan. The rest is what background jobs have used of their share since 00:00 UTC. The
        next day begins <When at={budget.resetsAt} />.
      </p>
      <p class="more">
        <a href="/usage">Usage</a>
        <a href="/upkeep">Health</a>
      </p>
    </div>
  );
}
