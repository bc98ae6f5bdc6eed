/** The forms of a repository's settings. */
import type { FC } from 'hono/jsx';
import type { Preview } from '../../../app/policies.ts';
import type { Repository } from '../../../app/repositories.ts';
import { settings } from '../../../env.ts';
import { EXCLUSIONS_MAX, type Mutability } from '../../../vocabulary/mutability.ts';
import type { RequestContext } from '../../context.ts';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { Choice, ConfirmName, Input, Refusals, type Refused } from '../parts/form.tsx';
import { Differences } from '../parts/rights.tsx';
import { countText, Foreign } from '../parts/text.tsx';

export interface Settings {
  repository: Repository;
  mutability: Mutability;
  mutabilityVersion: number;
}

interface FormProps extends Settings {
  refused: Refused | undefined;
}

/** The hidden fields of a form, and a note about what another person has changed since the page was read. */
const Around: FC<{ name: string; what: string; version: number; refused?: Refused | undefined; children?: unknown }> = ({
  name,
  what,
  version,
  refused,
  children,
}) => (
  <form method="post" action={repositoryAt(name, 'settings')}>
    <Refusals refused={refused} />
    <input type="hidden" name="what" value={what} />
    <input type="hidden" name="version" value={String(version)} />
    {children}
  </form>
);

/** Says what is stored now, if somebody else changed it after the page was read. */
const Overtaken: FC<{ refused: Refused | undefined; now: string }> = ({ refused, now }) =>
  refused?.refusal.reason === 'version-mismatch' ? (
    <p class="hint">
      Somebody changed the repository meanwhile. It is now: <Foreign text={now} />. Saving again replaces that.
    </p>
  ) : null;

/** The maximum number of characters of a description. */
const DESCRIPTION_MAX = 100;

export const DescriptionForm: FC<FormProps> = ({ repository: { name, description, version }, refused }) => (
  <section class="panel" aria-labelledby="description-title">
    <h2 id="description-title">Description</h2>
    <Around name={name} what="description" version={version} refused={refused}>
      <Overtaken refused={refused} now={description || 'empty'} />
      <Input
        name="description"
        label="Short description"
        hint={`Up to ${DESCRIPTION_MAX} characters, shown in lists. The long text is on the page About.`}
        max={DESCRIPTION_MAX}
        value={description}
        refused={refused}
      />
      <div class="actions">
        <button type="submit" class="main">
          Save description
        </button>
        <a href={withQuery(repositoryAt(name, 'about'), { edit: '1' })}>Edit the overview</a>
      </div>
    </Around>
  </section>
);

export const VisibilityPanel: FC<FormProps> = ({ repository: { name, visibility }, refused }) => {
  const other = visibility === 'public' ? 'private' : 'public';
  return (
    <section class="panel" aria-labelledby="visibility-title">
      <h2 id="visibility-title">Visibility</h2>
      <Refusals refused={refused} />
      <p>
        {visibility === 'public'
          ? 'The repository is public: everybody can see and pull it, without logging in.'
          : 'The repository is private: only those who have a right can see and pull it.'}
      </p>
      <p class="actions">
        <a class="button" href={withQuery(repositoryAt(name, 'settings'), { visibility: other })}>
          Make {other}…
        </a>
        <span class="hint">You see who gains and loses before anything changes.</span>
      </p>
    </section>
  );
};

/** Shows who would gain and lose rights by the other visibility, and the button that sets it. */
export const VisibilityReview: FC<Settings & Omit<Preview, 'warnings'>> = ({ repository, changes, truncated }) => {
  const { name, visibility, version } = repository;
  const other = visibility === 'public' ? 'private' : 'public';
  return (
    <section class="panel" aria-labelledby="visibility-title">
      <h2 id="visibility-title">Make this repository {other}</h2>
      <p>
        {other === 'public'
          ? 'Everybody can then see and pull it, without logging in. It can be made private again.'
          : 'Only those who have a right can then see and pull it. It can be made public again.'}
      </p>
      <Differences changes={changes} truncated={truncated} />
      <Around name={name} what="visibility" version={version}>
        <input type="hidden" name="visibility" value={other} />
        <div class="actions">
          <button type="submit" class="main">
            Make {other}
          </button>
          <a href={repositoryAt(name, 'settings')}>Back</a>
        </div>
      </Around>
    </section>
  );
};

export const ImmutableTagsForm: FC<FormProps> = ({ repository: { name }, mutability, mutabilityVersion, refused }) => {
  const { value, exclusions } = mutability;
  return (
    <section class="panel" aria-labelledby="tags-title">
      <h2 id="tags-title">Immutable tags</h2>
      <Around name={name} what="tags" version={mutabilityVersion} refused={refused}>
        <Overtaken refused={refused} now={[value.split('_', 1)[0]?.toLowerCase(), ...exclusions].join(', ')} />
        <Choice
          name="mutability"
          legend="Tags of this repository"
          value={refused?.value('mutability') || (value.startsWith('IMMUTABLE') ? 'IMMUTABLE' : 'MUTABLE')}
          options={[
            ['MUTABLE', 'Can be moved and deleted', 'A push of an existing tag replaces what it names.'],
            ['IMMUTABLE', 'Are immutable', 'A tag that was pushed can be neither moved nor deleted.'],
          ]}
        />
        <Input
          name="exclusions"
          label="Except these tags"
          hint={`For them the opposite holds. Up to ${EXCLUSIONS_MAX} patterns, separated by spaces; * is any text.`}
          value={exclusions.join(' ')}
          mono
          refused={refused}
        />
        <button type="submit" class="main">
          Save tag rule
        </button>
      </Around>
    </section>
  );
};

export const DangerZone: FC<FormProps & { c: RequestContext }> = ({ c, repository, refused }) => {
  const { name, version, tags, manifests } = repository;
  const { trashDays, deletion } = settings(c.env);
  return (
    <section class="panel danger" aria-labelledby="deletion-title">
      <h2 id="deletion-title">Delete this repository</h2>
      {deletion ? (
        <>
          <p>
            {manifests === 0
              ? 'It is empty. '
              : `${countText(tags, 'tag')} and ${countText(manifests, 'manifest')} go, and nobody can pull them. `}
            {trashDays === 0
              ? 'This registry keeps no trash: the deletion cannot be undone.'
              : `It goes to the trash with all it has, and can be restored for ${countText(trashDays, 'day')}.`}
          </p>
          <Around name={name} what="deletion" version={version} refused={refused}>
            <ConfirmName expected={name} refused={refused} />
            <button type="submit" class="danger">
              Delete repository
            </button>
          </Around>
        </>
      ) : (
        <p>Deletions are switched off in this registry.</p>
      )}
    </section>
  );
};
