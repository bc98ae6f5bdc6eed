/** The rights of a team or robot: its policy, in words, as a form and as JSON. */
import type { FC } from 'hono/jsx';
import { getPolicy, type Policy, savePolicy } from '../../../app/policies.ts';
import { callOf, type RequestContext } from '../../context.ts';
import { type Form, versionIn } from '../forms.ts';
import { ActionForm, Notice, Refusals, type Refused, sentence, TextArea } from '../parts/form.tsx';
import { type IdentityStatement, PresetFields, presetStatement, StatementText, statementsOfJson } from '../rights.tsx';

/**
 * Saves what a form of `PolicyForms` says: all statements as JSON, one more statement, or one less.
 * @param subject the team or robot
 * @throws version-mismatch if the policy was changed since the form was shown
 */
export async function changePolicy(c: RequestContext, subject: string, form: Form): Promise<void> {
  const call = callOf(c);
  const version = versionIn(form);
  if (form.has('statements')) {
    await savePolicy(call, subject, statementsOfJson(form.raw('statements')), version);
    return;
  }
  const { statements } = await getPolicy(call, subject);
  const sent = statements as IdentityStatement[];
  const removed = form.has('remove') ? Number(form.text('remove')) : null;
  const next = removed === null ? [...sent, presetStatement(form)] : sent.filter((_, n) => n !== removed);
  await savePolicy(call, subject, next, version);
}

interface PolicyProps {
  policy: Policy;
  action: string;
  organization: string;
  /** The team or robot in words. */
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
        <button type="submit" class="main">
          Give the right
        </button>
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
        <button type="submit">Save the statements</button>
      </form>
    </details>
  </section>
);
