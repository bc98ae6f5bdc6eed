/** The rights of a team or robot: its policy in words, and forms to change it. */
import type { FC } from 'hono/jsx';
import type { Call } from '../../../app/call.ts';
import { getPolicy, type Policy, type Preview, previewChange, savePolicy } from '../../../app/policies.ts';
import { callOf, type RequestContext } from '../../context.ts';
import { type Form, versionIn } from '../forms.ts';
import { ActionForm, Notice, Refusals, type Refused, sentence, TextArea } from '../parts/form.tsx';
import { principalText, Rights } from '../parts/rights.tsx';
import { type Column, Empty, Table } from '../parts/table.tsx';
import { type IdentityStatement, PresetFields, presetStatement, StatementText, statementsOfJson } from '../rights.tsx';

/** Statements that are not saved yet, and the rights that would change. */
interface Review {
  statements: IdentityStatement[];
  version: number | null;
  preview: Preview;
}

/**
 * Saves the change in a form of `PolicyForms`: all statements as JSON, one more statement, or one less.
 * @param subject the team or robot
 * @returns what would change, if the form asks for a preview; nothing is saved in this case
 * @throws version-mismatch if the policy was changed since the form was shown
 */
export async function changePolicy(c: RequestContext, subject: string, form: Form): Promise<Review | null> {
  const call = callOf(c);
  const version = versionIn(form);
  const change = changeIn(form);
  if (!form.has('review')) {
    await savePolicy(call, subject, form.has('statements') ? change([]) : change(await savedOf(call, subject)), version);
    return null;
  }
  let statements: IdentityStatement[] = [];
  const preview = await previewChange(call, subject, (saved) => {
    statements = change(saved as IdentityStatement[]);
    return statements;
  });
  return { statements, version, preview };
}

async function savedOf(call: Call, subject: string): Promise<IdentityStatement[]> {
  return (await getPolicy(call, subject)).statements as IdentityStatement[];
}

/** Returns the statements that the form asks for, from the saved ones. @throws request-invalid */
function changeIn(form: Form): (saved: IdentityStatement[]) => IdentityStatement[] {
  if (form.has('statements')) {
    const statements = statementsOfJson(form.raw('statements'));
    return () => statements;
  }
  if (form.has('remove')) return (saved) => saved.filter((_, n) => n !== Number(form.text('remove')));
  return (saved) => [...saved, presetStatement(form)];
}

interface ReviewProps {
  review: Review;
  action: string;
  /** The address of the page of the team or robot. */
  back: string;
}

const COLUMNS: Column<Preview['changes'][number]>[] = [
  { head: 'Repository', cell: ({ repository }) => <span class="strong">{repository}</span> },
  { head: 'Who', cell: ({ principal }) => principalText(principal) },
  { head: 'Gains', cell: ({ gains }) => <Rights tone="good" rights={gains} /> },
  { head: 'Loses', cell: ({ loses }) => <Rights tone="bad" rights={loses} /> },
];

/** Shows who would gain and lose which rights, before the change is saved. */
export const PolicyReview: FC<ReviewProps> = ({ review: { statements, version, preview }, action, back }) => (
  <section>
    <h2 class="sub">Review: who gains and who loses</h2>
    {preview.warnings.map((warning) => (
      <Notice tone="warn">{sentence(warning)}</Notice>
    ))}
    {preview.changes.length === 0 ? (
      <Empty title="Nobody gains or loses a right in the repositories that exist now" />
    ) : (
      <Table caption="Who gains and who loses rights" columns={COLUMNS} items={preview.changes} />
    )}
    {preview.truncated ? <p class="hint">The list is not complete: there is more to compare than one request may.</p> : null}
    <form method="post" action={action} class="actions spaced">
      {version === null ? null : <input type="hidden" name="version" value={String(version)} />}
      <input type="hidden" name="statements" value={JSON.stringify(statements)} />
      <button type="submit" class="main">
        Save the rights
      </button>
      <a href={back}>Back</a>
    </form>
  </section>
);

interface PolicyProps {
  policy: Policy;
  action: string;
  organization: string;
  /** The words for the team or robot in sentences. */
  whose: string;
  refused?: Refused | undefined;
}

export const PolicyForms: FC<PolicyProps> = ({
  policy: { statements, warnings, version },
  action,
  organization,
  whose,
  refused,
}) => (
  <section class="panel">
    <h2>Rights</h2>
    <Refusals refused={refused} />
    {warnings.map((warning) => (
      <Notice tone="warn">{sentence(warning)}</Notice>
    ))}
    {statements.length === 0 ? <p class="soft">{whose} has no rights of its own yet.</p> : null}
    <ul class="lines ruled">
      {statements.map((statement, n) => (
        <li>
          <StatementText statement={statement} />
          <ActionForm
            action={action}
            fields={{ version: String(version), remove: String(n) }}
            label="Remove"
            name={`Remove right ${n + 1}`}
            small
          />
        </li>
      ))}
    </ul>
    <details class="fold" open={refused !== undefined && !refused.value('statements')}>
      <summary class="button">Give a right</summary>
      <form method="post" action={action}>
        <input type="hidden" name="version" value={String(version)} />
        <PresetFields namespace={organization} refused={refused} />
        <div class="actions">
          <button type="submit" class="main">
            Give the right
          </button>
          <ReviewButton />
        </div>
      </form>
    </details>
    <details class="fold" open={Boolean(refused?.value('statements'))}>
      <summary>All statements as JSON</summary>
      <form method="post" action={action}>
        <input type="hidden" name="version" value={String(version)} />
        <TextArea
          name="statements"
          label="Statements"
          rows={10}
          mono
          value={JSON.stringify(statements, null, 2)}
          hint="Each has actions, repositories, and if wanted tags and an effect."
          refused={refused}
        />
        <div class="actions">
          <button type="submit">Save the statements</button>
          <ReviewButton />
        </div>
      </form>
    </details>
  </section>
);

const ReviewButton: FC = () => (
  <button type="submit" name="review" value="yes">
    Who gains, who loses?
  </button>
);
