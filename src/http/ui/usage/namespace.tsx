/** What the usage of an organization or a user shows, and its limit, which administrators set. */
import type { FC } from 'hono/jsx';
import type { Holdings, LargeRepository } from '../../../app/usage.ts';
import { invalidInput } from '../../../vocabulary/refusal.ts';
import { callOf, type RequestContext } from '../../context.ts';
import type { Form } from '../forms.ts';
import { Conflict } from '../parts/conflict.tsx';
import { Input, Refusals, type Refused } from '../parts/form.tsx';
import { Meter } from '../parts/meter.tsx';
import { Bytes, countText, When } from '../parts/text.tsx';
import { Largest } from './largest.tsx';

const GIGABYTE = 1e9;

/** The limit in the form. @throws request-invalid */
export function quotaIn(form: Form): { maxBytes: number | null; warnPercent: number } {
  const [limit, warn] = [form.text('limit').replace(',', '.'), form.text('warnPercent')];
  if (limit !== '' && !/^\d{1,9}(\.\d{1,9})?$/.test(limit))
    throw invalidInput({ at: 'limit', message: 'must be a number of GB' });
  if (!/^[1-9]\d?$|^100$/.test(warn)) throw invalidInput({ at: 'warnPercent', message: 'must be a number from 1 to 100' });
  return { maxBytes: limit === '' ? null : Math.round(Number(limit) * GIGABYTE), warnPercent: Number(warn) };
}

interface UsageProps {
  c: RequestContext;
  /** The address of the page, which takes the form, too. */
  path: string;
  holdings: Holdings;
  largest: LargeRepository[];
  /** Whose limit it is: `your account`, for example. */
  whose: string;
  refused: Refused | undefined;
}

export const NamespaceUsage: FC<UsageProps> = ({ c, path, holdings, largest, whose, refused }) => {
  const { bytes, staged, maxBytes, trash } = holdings;
  const { administrator } = callOf(c).authority;
  return (
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
          <QuotaForm path={path} holdings={holdings} refused={refused} />
        ) : (
          <p class="hint">An administrator sets the limit of {whose}.</p>
        )}
      </aside>
    </div>
  );
};

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

function gigabytes(maxBytes: number | null): string {
  return maxBytes === null ? '' : String(maxBytes / GIGABYTE);
}

const QuotaForm: FC<{ path: string; holdings: Holdings; refused: Refused | undefined }> = ({ path, holdings, refused }) => {
  const { maxBytes, warnPercent, version } = holdings;
  return (
    <form method="post" action={path} class="panel">
      <h2>Limit</h2>
      <Refusals refused={refused} />
      <Conflict
        refused={refused}
        fields={[
          { label: 'GB that may be stored', name: 'limit', now: gigabytes(maxBytes) },
          { label: 'Warn at, in percent', name: 'warnPercent', now: String(warnPercent) },
        ]}
      />
      <input type="hidden" name="version" value={String(version)} />
      <Input
        name="limit"
        label="GB that may be stored"
        hint="Empty: no limit. What is stored beyond a new limit stays."
        value={gigabytes(maxBytes)}
        refused={refused}
      />
      <Input
        name="warnPercent"
        label="Warn at, in percent"
        hint="Recorded once as the event quota.warned, which webhooks can send."
        type="number"
        value={String(warnPercent)}
        refused={refused}
      />
      <button type="submit" class="main">
        Save limit
      </button>
    </form>
  );
};
