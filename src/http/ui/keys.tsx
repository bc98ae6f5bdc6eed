/** Parts of pages about access keys: the list, the form for a new key, and the page that shows a secret once. */
import type { FC } from 'hono/jsx';
import type { AccessKey, CreatedKey } from '../../app/keys.ts';
import { providerName } from '../../app/provider-sign-in.ts';
import { settings } from '../../env.ts';
import { loginNameOf, nameOf } from '../../vocabulary/names.ts';
import { hostOf, type RequestContext } from '../context.ts';
import { ConfirmKey } from './confirmed.tsx';
import type { Form } from './forms.ts';
import { Page } from './page.tsx';
import { keyAt } from './parts/addresses.ts';
import { Input, Notice, Refusals, type Refused, sentence } from './parts/form.tsx';
import { type Column, Table } from './parts/table.tsx';
import { Chip, Command, Day, Foreign, When } from './parts/text.tsx';
import { JsonLimits, limitsIn, PresetFields } from './rights.tsx';

const COLUMNS: Column<AccessKey>[] = [
  {
    head: 'Name',
    cell: ({ id, name }) => (
      <>
        <a class="strong" href={keyAt(id)} data-row>
          <Foreign text={name} />
        </a>
        <span class="soft mono">{id}</span>
      </>
    ),
  },
  { head: 'State', cell: ({ state }) => <KeyState state={state} /> },
  { head: 'May do', cell: ({ statements }) => (statements === null ? 'everything its owner may' : <Chip>limited</Chip>) },
  { head: 'Expires', cell: ({ expiresAt }) => <When at={expiresAt} /> },
  { head: 'Last used', cell: ({ lastUsedDay }) => <Day day={lastUsedDay} /> },
];

export const KeyState: FC<{ state: AccessKey['state'] }> = ({ state }) => (
  <Chip tone={state === 'active' ? 'good' : 'plain'}>{state}</Chip>
);

export const KeyTable: FC<{ keys: AccessKey[] }> = ({ keys }) => <Table caption="Access keys" columns={COLUMNS} items={keys} />;

/** Returns the input for a new key. */
export function newKeyIn(form: Form) {
  const days = form.text('days');
  return { name: form.text('name'), statements: limitsIn(form), ...(days === '' ? {} : { days: Number(days) }) };
}

/**
 * Returns the random id of this form, which is used as Idempotency-Key: if the form is sent twice, the second answer shows the
 * same key.
 */
export function onceIn(form: Form): string | null {
  const once = form.text('once');
  return /^[\w-]{16,64}$/.test(once) ? once : null;
}

export const Once: FC = () => <input type="hidden" name="once" value={crypto.randomUUID()} />;

interface NewKeyProps {
  c: RequestContext;
  action: string;
  /** The subject that will own the key. */
  owner: string;
  /** The token of a sign-in at the provider, which takes the place of the access key. */
  confirmation?: string | undefined;
  refused?: Refused | undefined;
}

export const NewKeyForm: FC<NewKeyProps> = ({ c, action, owner, confirmation, refused }) => {
  const { keyDefaultDays, keyMaxDays } = settings(c.env);
  const namespace = nameOf(owner).split('/', 1)[0] ?? '';
  const all = owner.startsWith('user:') ? 'Everything you may do' : 'Everything the robot may do';
  return (
    <form method="post" action={action} class="panel">
      <Refusals refused={refused} />
      <Once />
      <Input
        name="name"
        label="Name"
        hint="What the key is for, such as laptop or build server."
        max={100}
        required
        refused={refused}
      />
      <Input
        name="days"
        label="Days until it expires"
        type="number"
        value={String(keyDefaultDays)}
        max={keyMaxDays}
        hint={`Up to ${keyMaxDays.toLocaleString('en')}.`}
        refused={refused}
      />
      <PresetFields all={all} namespace={namespace} refused={refused} />
      <JsonLimits refused={refused} />
      {confirmation === undefined ? (
        <ConfirmKey c={c} refused={refused} />
      ) : (
        <>
          <input type="hidden" name="confirmation" value={confirmation} />
          <p class="field">You have just signed in at {providerName(c.env)}. That confirms one key, within 10 minutes.</p>
        </>
      )}
      <button type="submit" class="main">
        Make access key
      </button>
    </form>
  );
};

/** The page that shows a new key. No other page shows its secret. */
export const MadeKey: FC<{ c: RequestContext; made: CreatedKey; back: string; section: 'account' | 'organizations' }> = ({
  c,
  made: { key, secret, warnings },
  back,
  section,
}) => {
  const host = hostOf(c);
  return (
    <Page c={c} title="New access key" section={section}>
      <section class="narrow">
        <h1>
          Access key <Foreign text={key.name} />
        </h1>
        <div class="panel">
          <Notice tone="warn">
            <strong>Save the access key now.</strong> It is not shown again.
          </Notice>
          {warnings.map((warning) => (
            <Notice tone="warn">{sentence(warning)}</Notice>
          ))}
          <h2>The key</h2>
          <Secret text={secret} label="Copy the access key" />
          <h2>Log in with docker</h2>
          <p>docker asks for the password: paste the key.</p>
          <Command command={`docker login -u ${loginNameOf(key.owner)} ${host}`} />
          <details class="fold">
            <summary>For clients of Amazon ECR</summary>
            <dl class="facts">
              <dt>Access key ID</dt>
              <dd class="mono">{key.id}</dd>
              <dt>Secret access key</dt>
              <dd>the key above</dd>
            </dl>
          </details>
          <p>
            It expires <When at={key.expiresAt} />. <a href={back}>I have saved it</a>
          </p>
        </div>
      </section>
    </Page>
  );
};

/** A secret with a button that copies it. A script removes the secret from the page when the reader leaves the page. */
export const Secret: FC<{ text: string; label: string }> = ({ text, label }) => (
  <div data-secret>
    <Command command={text} label={label} />
  </div>
);
