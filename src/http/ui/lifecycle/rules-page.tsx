/** The page of lifecycle rules: the rules in words, a form for simple rules, and a JSON editor for all rules. */
import type { FC } from 'hono/jsx';
import { may } from '../../../app/access.ts';
import type { Lifecycle, LifecycleReport } from '../../../app/lifecycle.ts';
import type { Repository } from '../../../app/repositories.ts';
import { callOf, type RequestContext } from '../../context.ts';
import { repositoryAt } from '../parts/addresses.ts';
import { Input, Refusals, type Refused, TextArea } from '../parts/form.tsx';
import { Empty } from '../parts/table.tsx';
import { countText, Foreign, Principal, When } from '../parts/text.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';
import { type Policy, ruleText, usualOf } from './rules.ts';

interface RulesProps {
  c: RequestContext;
  repository: Repository;
  saved: Lifecycle | null;
  refused: Refused | undefined;
}

export const RulesPage: FC<RulesProps> = ({ c, repository, saved, refused }) => {
  const { name } = repository;
  const isAdmin = may(callOf(c).authority, 'admin', name);
  const json = `/api/v1${repositoryAt(name, 'lifecycle')}`;
  return (
    <RepositoryPage c={c} repository={repository} tab="lifecycle" title={`Lifecycle · ${name}`} json={json}>
      <div class="halves">
        <section>
          <div class="subject">
            <h2>Rules</h2>
            {isAdmin && saved !== null ? (
              <a class="button main" href={repositoryAt(name, 'lifecycle/preview')}>
                Preview and run
              </a>
            ) : null}
          </div>
          {saved === null ? <NoRules isAdmin={isAdmin} /> : <RuleList policy={saved.policy} />}
          {saved === null ? null : <LastRun report={saved.report} />}
          {isAdmin ? <Editors name={name} saved={saved} refused={refused} /> : null}
        </section>
        <aside class="panel" aria-label="How rules work">
          <h2>How rules work</h2>
          <ul class="notes">
            <li>They run once a day. What they delete goes to the trash, from which it can be restored.</li>
            <li>The first rule whose tags match decides. A rule that keeps wins over all others.</li>
            <li>An image is deleted with the last tag that names it. Signatures and SBOMs go with their image.</li>
            <li>Immutable tags stay, unless a rule says otherwise.</li>
          </ul>
          {isAdmin ? null : <p class="hint">Those who may administer {name} can change the rules.</p>}
        </aside>
      </div>
    </RepositoryPage>
  );
};

const NoRules: FC<{ isAdmin: boolean }> = ({ isAdmin }) => (
  <Empty title="No rules">
    <p>Every tag and image stays until somebody deletes it.{isAdmin ? ' Rules below clean up by themselves.' : ''}</p>
  </Empty>
);

export const RuleList: FC<{ policy: Policy }> = ({ policy }) => (
  <ol class="rules panel">
    {policy.rules.map((rule) => (
      <li>
        <span class="number" title="The priority of the rule">
          {String(rule.rulePriority)}
        </span>
        <span>
          <Foreign text={ruleText(rule)} />
          {rule.description ? (
            <span class="soft">
              <Foreign text={rule.description} />
            </span>
          ) : null}
        </span>
      </li>
    ))}
  </ol>
);

const LastRun: FC<{ report: LifecycleReport | null }> = ({ report }) => {
  if (report === null) return <p class="soft">The rules have not run yet.</p>;
  const { at, by, tags, manifests, remaining, failed } = report;
  return (
    <p class="soft">
      Last run <When at={at} />
      {by === null || by === 'registry' ? null : ' by '}
      {by === null || by === 'registry' ? null : <Principal subject={by} />}: {countText(tags, 'tag')} and{' '}
      {countText(manifests, 'image')} deleted{remaining > 0 ? `, ${remaining} left for the next run` : ''}.
      {failed === null ? null : ` It ended early: ${failed}.`}
    </p>
  );
};

const Editors: FC<{ name: string; saved: Lifecycle | null; refused: Refused | undefined }> = ({ name, saved, refused }) => {
  const sentJson = refused === undefined ? '' : refused.value('json');
  const usual = usualOf(saved?.policy ?? null);
  const version = saved?.version ?? 0;
  return (
    <>
      {usual === null ? (
        <p class="hint">These rules are more than the form for the usual ones can say: edit them as JSON.</p>
      ) : (
        <details class="panel" open={saved === null || (refused !== undefined && sentJson === '')}>
          <summary>{saved === null ? 'The usual rules' : 'Change the rules'}</summary>
          <EditorForm name={name} version={version} refused={sentJson === '' ? refused : undefined}>
            <UsualFields usual={usual} refused={sentJson === '' ? refused : undefined} />
          </EditorForm>
        </details>
      )}
      <details class="panel" open={sentJson !== '' || usual === null}>
        <summary>All rules as JSON</summary>
        <EditorForm name={name} version={version} refused={sentJson === '' ? undefined : refused}>
          <TextArea
            name="json"
            label="Rules"
            hint="As a lifecycle policy of Amazon ECR, with rules that keep."
            rows={16}
            mono
            value={JSON.stringify(saved?.policy ?? EXAMPLE, null, 2)}
            refused={sentJson === '' ? undefined : refused}
          />
        </EditorForm>
      </details>
      {saved === null ? null : (
        <form method="post" action={repositoryAt(name, 'lifecycle/deletion')} class="panel danger">
          <input type="hidden" name="version" value={String(version)} />
          <div class="actions">
            <button type="submit" class="danger">
              Delete all rules
            </button>
            <span class="hint">Then every tag and image stays. What the rules have deleted stays in the trash.</span>
          </div>
        </form>
      )}
    </>
  );
};

const EXAMPLE: Policy = {
  rules: [
    {
      rulePriority: 1,
      description: 'Untagged images after a week',
      selection: { tagStatus: 'untagged', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 7 },
      action: { type: 'expire' },
    },
  ],
};

const EditorForm: FC<{ name: string; version: number; refused: Refused | undefined; children?: unknown }> = ({
  name,
  version,
  refused,
  children,
}) => (
  <form method="post" action={repositoryAt(name, 'lifecycle')}>
    <Refusals refused={refused} />
    <input type="hidden" name="version" value={String(version)} />
    {children}
    <div class="actions">
      <button type="submit" class="main" formaction={repositoryAt(name, 'lifecycle/preview')}>
        Preview
      </button>
      <button type="submit">Save rules</button>
    </div>
  </form>
);

const UsualFields: FC<{ usual: NonNullable<ReturnType<typeof usualOf>>; refused: Refused | undefined }> = ({
  usual,
  refused,
}) => (
  <>
    <Input
      name="untaggedDays"
      label="Delete untagged images after"
      hint="Days since the push. Empty: they stay."
      type="number"
      value={usual.untaggedDays}
      refused={refused}
    />
    <Input
      name="patterns"
      label="Delete tags that match"
      hint="Names or patterns such as pr-*, separated by spaces. Empty: none."
      value={usual.patterns}
      mono
      refused={refused}
    />
    <Input
      name="patternDays"
      label="… after"
      hint="Days since the push."
      type="number"
      value={usual.patternDays}
      refused={refused}
    />
    <Input
      name="newest"
      label="Of all other tags keep the newest"
      hint="A number of tags. Empty: all stay."
      type="number"
      value={usual.newest}
      refused={refused}
    />
    <Input
      name="keep"
      label="Always keep tags that match"
      hint="Such as v* latest. This wins over the rules above."
      value={usual.keep}
      mono
      refused={refused}
    />
  </>
);
