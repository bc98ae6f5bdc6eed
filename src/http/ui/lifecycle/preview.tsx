/** The page that previews lifecycle rules: what a run would delete, why, and how many bytes it would free. */
import type { FC } from 'hono/jsx';
import type { LifecycleItem, LifecyclePreview } from '../../../app/lifecycle.ts';
import type { Repository } from '../../../app/repositories.ts';
import type { RequestContext } from '../../context.ts';
import { imageAt, repositoryAt, tagAt } from '../parts/addresses.ts';
import { Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { bytesText, countText, Digest, Foreign, When } from '../parts/text.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';
import type { Policy } from './rules.ts';
import { RuleList } from './rules-page.tsx';

interface PreviewProps {
  c: RequestContext;
  repository: Repository;
  policy: Policy;
  plan: LifecyclePreview;
  /** The version of the saved rules if the previewed rules are not saved yet; `null` if they are saved. */
  unsaved: number | null;
  refused: Refused | undefined;
}

/** The maximum number of items on one page. */
const SHOWN_MAX = 300;

export const PreviewPage: FC<PreviewProps> = ({ c, repository, policy, plan: { plan, whole, next }, unsaved, refused }) => {
  const { name } = repository;
  const named = [...plan.tags, ...plan.attached];
  const items: Item[] = [...named, ...plan.manifests.map((one) => ({ ...one, tag: null }))];
  return (
    <RepositoryPage c={c} repository={repository} tab="lifecycle" title={`Preview of the rules · ${name}`}>
      <p class="more">
        <a href={repositoryAt(name, 'lifecycle')}>Rules</a>
      </p>
      <h2>{unsaved === null ? 'What the rules would delete now' : 'What these rules would delete now'}</h2>
      <Refusals refused={refused} />
      <RuleList policy={policy} />
      <p class="lead">
        {items.length === 0
          ? 'Nothing would go.'
          : `${countText(named.length, 'tag')} and ${countText(plan.manifests.length, 'image')} would go${
              whole === null ? ' on this page' : `, and ${bytesText(whole.bytes)} come back when the trash is emptied`
            }.`}
      </p>
      <Waiting waiting={plan.waiting} />
      <NextStep name={name} policy={policy} unsaved={unsaved} etag={whole?.etag ?? ''} count={items.length} isLarge={!whole} />
      {items.length === 0 ? null : (
        <Table caption="What would go, and why" columns={columnsOf(name)} items={items.slice(0, SHOWN_MAX)} />
      )}
      {items.length > SHOWN_MAX ? <p class="soft">And {countText(items.length - SHOWN_MAX, 'more', 'more')}.</p> : null}
      <NextPage name={name} policy={policy} unsaved={unsaved} next={next} />
    </RepositoryPage>
  );
};

type Item = LifecycleItem & { tag: string | null };

function columnsOf(name: string): Column<Item>[] {
  return [
    {
      head: 'What',
      cell: ({ tag }) =>
        tag === null ? (
          <span>image</span>
        ) : (
          <a class="strong mono" href={tagAt(name, tag)} data-row>
            {tag}
          </a>
        ),
    },
    { head: 'Digest', cell: ({ digest }) => <Digest digest={digest} href={imageAt(name, digest)} /> },
    { head: 'Rule', kind: 'number', cell: ({ rule }) => String(rule.priority) },
    { head: 'Why', cell: ({ reason }) => <Foreign text={reason} /> },
  ];
}

const Waiting: FC<{ waiting: { leasedUntil: number }[] }> = ({ waiting }) => {
  if (waiting.length === 0) return null;
  const until = waiting.reduce((latest, { leasedUntil }) => Math.max(latest, leasedUntil), 0);
  return (
    <p class="soft">
      {countText(waiting.length, 'more image is', 'more images are')} left alone for now: pushed without a tag, or a client was
      told a short time ago that it exists. The rules may delete them <When at={until} />.
    </p>
  );
};

interface StepProps {
  name: string;
  policy: Policy;
  unsaved: number | null;
}

const Hidden: FC<{ policy: Policy; version: number }> = ({ policy, version }) => (
  <>
    <input type="hidden" name="json" value={JSON.stringify(policy, null, 2)} />
    <input type="hidden" name="version" value={String(version)} />
  </>
);

/** The form for the next step: saves the rules if they are not saved, and otherwise runs them as previewed. */
const NextStep: FC<StepProps & { etag: string; count: number; isLarge: boolean }> = (props) => {
  const { name, policy, unsaved, etag, count, isLarge } = props;
  if (unsaved !== null) {
    return (
      <form method="post" action={repositoryAt(name, 'lifecycle')} class="step">
        <Hidden policy={policy} version={unsaved} />
        <button type="submit" class="main">
          Save these rules
        </button>
        <span class="hint">Nothing is deleted until they run, once a day or when you run them.</span>
      </form>
    );
  }
  if (count === 0 && !isLarge) return null;
  return (
    <form method="post" action={repositoryAt(name, 'lifecycle/run')} class="step">
      <input type="hidden" name="etag" value={etag} />
      <button type="submit" class="danger">
        {isLarge ? 'Run the next part now' : `Delete ${countText(count, 'item')} now`}
      </button>
      <span class="hint">
        {isLarge
          ? 'The repository is large: the rules go through it page by page. What goes can be restored from the trash.'
          : 'Deletes what is listed here, or nothing if something changed meanwhile. It can be restored from the trash.'}
      </span>
    </form>
  );
};

const NextPage: FC<StepProps & { next: string | null }> = ({ name, policy, unsaved, next }) => {
  if (next === null) return null;
  return (
    <form method="post" action={repositoryAt(name, 'lifecycle/preview')} class="pager">
      <Hidden policy={policy} version={unsaved ?? 0} />
      <input type="hidden" name="after" value={next} />
      <button type="submit">Next page</button>
    </form>
  );
};
