/** The table of who may use a repository, and the forms below it. */
import type { FC } from 'hono/jsx';
import type { Grant, GrantedRight } from '../../../app/grants.ts';
import type { ShownStatement } from '../../../contract/answers/statements.ts';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { ActionForm, Choice, Input, Refusals, type Refused, TextArea } from '../parts/form.tsx';
import { principalText, rightText } from '../parts/rights.tsx';
import { Empty, Table } from '../parts/table.tsx';
import { Chip } from '../parts/text.tsx';

/** Shows what a grant allows: the name of its preset, or each right. */
const Allowed: FC<{ grant: Grant }> = ({ grant: { preset, allows, denies } }) => {
  const limited = allows.filter(({ tags }) => tags !== undefined);
  const isPreset = preset !== null && allows.length > 0;
  return (
    <span class="chips">
      {isPreset ? <span>{preset}</span> : <Rights rights={allows} />}
      {isPreset && limited[0] ? (
        <span class="soft">
          {limited.map(({ action }) => rightText({ action })).join(', ')}: only tags {limited[0].tags?.join(', ')}
        </span>
      ) : null}
      {denies.length === 0 ? null : (
        <>
          <Chip tone="bad">never</Chip>
          <Rights rights={denies} />
        </>
      )}
    </span>
  );
};

const Rights: FC<{ rights: readonly GrantedRight[] }> = ({ rights }) => <span>{rights.map(rightText).join(', ')}</span>;

export const OwnGrants: FC<{ name: string; version: number; grants: readonly Grant[] }> = ({ name, version, grants }) => {
  const page = repositoryAt(name, 'permissions');
  if (grants.length === 0) {
    return (
      <Empty title="Nobody has a right from this repository alone">
        <p>Give a person, a team or a robot one below.</p>
      </Empty>
    );
  }
  return (
    <Table
      caption="Rights that this repository gives"
      columns={[
        { head: 'Who', cell: ({ principal }) => <span class="strong">{principalText(principal)}</span> },
        { head: 'May', cell: (grant) => <Allowed grant={grant} /> },
        { head: 'From', cell: () => <span>this repository</span> },
        {
          head: 'Change',
          cell: ({ principal }) => (
            <span class="actions">
              <a
                href={`${withQuery(page, { principal })}#give`}
                aria-label={`Change the rights of ${principalText(principal)}`}
              >
                Change
              </a>
              <ActionForm
                action={page}
                label="Remove…"
                name={`Remove ${principalText(principal)}…`}
                fields={{ what: 'remove', principal, version: String(version) }}
              />
            </span>
          ),
        },
      ]}
      items={grants}
    />
  );
};

/** Returns the place where rights that do not come from the repository's policy can be changed. */
function sourceText({ principal, isOwner }: { principal: string; isOwner: boolean }): string {
  if (isOwner) return 'owner of the namespace';
  return principal.startsWith('ci:') ? 'the rule itself' : `the policy of the ${principal.split(':', 1)[0]}`;
}

export const OtherGrants: FC<{ items: readonly (Grant & { isOwner: boolean })[]; partial: boolean }> = ({ items, partial }) => (
  <>
    {items.length === 0 ? null : (
      <>
        <h3>From elsewhere</h3>
        <Table
          caption="Rights that come from roles and from other policies"
          columns={[
            { head: 'Who', cell: ({ principal }) => <span class="strong">{principalText(principal)}</span> },
            { head: 'May', cell: (grant) => <Allowed grant={grant} /> },
            { head: 'From', cell: (grant) => <span>{sourceText(grant)}</span> },
          ]}
          items={items}
        />
      </>
    )}
    <p class="hint">
      Administrators of the registry may do everything.
      {partial ? ' Others may have rights by their own policies, which you may not see.' : ''}
    </p>
  </>
);

interface FormProps {
  name: string;
  version: number;
  refused: Refused | undefined;
}

/** Returns true if the refused form is the JSON editor of statements, and not the form that gives a right. */
const isAboutStatements = (refused: Refused | undefined) => refused !== undefined && refused.value('statements') !== '';

interface GrantFormProps extends FormProps {
  /** The principal whose rights the user wants to change. */
  principal: string | undefined;
  grants: readonly Grant[];
  known: readonly Grant[];
}

const PresetChoice: FC<{ value: string }> = ({ value }) => (
  <Choice
    name="preset"
    legend="May"
    value={value}
    options={[
      ['pull only', 'Pull only', 'See the repository and pull images.'],
      ['push and pull', 'Push and pull', 'Also push images, and create and move tags.'],
      ['all actions', 'All actions', 'Also delete images, and change permissions and settings.'],
    ]}
  />
);

/** Usual limits to tags, offered in the field. */
const TAG_PATTERNS = [
  ['v*', 'Releases'],
  ['main-*', 'Builds of the main branch'],
  ['pr-*', 'Builds of pull requests'],
  ['latest', 'One tag'],
] as const;

const TagPatterns: FC = () => (
  <datalist id="tag-patterns">
    {TAG_PATTERNS.map(([pattern, text]) => (
      <option value={pattern} label={`${text}: ${pattern}`} />
    ))}
  </datalist>
);

export const GrantForm: FC<GrantFormProps> = ({ name, version, principal, grants, known, refused }) => {
  const shown = isAboutStatements(refused) ? undefined : refused;
  const present = grants.find((grant) => grant.principal === principal);
  const tags = present?.allows.find((right) => right.tags !== undefined)?.tags ?? [];
  const names = new Set([...grants, ...known].map((grant) => grant.principal).filter((one) => !one.startsWith('ci:')));
  return (
    <section class="panel" id="give" aria-labelledby="give-title">
      <h2 id="give-title">{present ? `Change the rights of ${principalText(present.principal)}` : 'Give a right'}</h2>
      <form method="post" action={repositoryAt(name, 'permissions')}>
        <Refusals refused={shown} />
        <input type="hidden" name="what" value="give" />
        <input type="hidden" name="version" value={String(version)} />
        <Input
          name="principal"
          label="Who"
          hint="A user name, team:acme/dev, robot:acme/ci, organization:acme, or * for everybody."
          value={present?.principal ?? principal ?? ''}
          list="principals"
          max={200}
          mono
          required
          refused={shown}
        />
        <datalist id="principals">
          {[...names].map((one) => (
            <option value={one} />
          ))}
        </datalist>
        <PresetChoice value={shown?.value('preset') || present?.preset || 'pull only'} />
        <Input
          name="tags"
          label="Only these tags"
          hint="Limits pushing, moving and deleting: patterns separated by spaces, such as v*. Empty: all tags."
          value={tags.join(' ')}
          list="tag-patterns"
          max={2000}
          mono
          refused={shown}
        />
        <TagPatterns />
        <button type="submit" class="main">
          Review
        </button>
      </form>
    </section>
  );
};

export const StatementsForm: FC<FormProps & { statements: readonly ShownStatement[] }> = ({
  name,
  version,
  refused,
  statements,
}) => {
  const shown = isAboutStatements(refused) ? refused : undefined;
  return (
    <details class="panel" open={shown !== undefined}>
      <summary>Statements as JSON</summary>
      <form method="post" action={repositoryAt(name, 'permissions')}>
        <Refusals refused={shown} />
        <input type="hidden" name="what" value="statements" />
        <input type="hidden" name="version" value={String(version)} />
        <TextArea
          name="statements"
          label="Statements"
          hint="An action is allowed if a statement allows it, and none denies it."
          rows={16}
          max={64 * 1024}
          mono
          value={JSON.stringify(statements, null, 2)}
          refused={shown}
        />
        <button type="submit">Review</button>
      </form>
    </details>
  );
};
