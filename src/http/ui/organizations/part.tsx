/** What the pages of teams and robots share: addresses, and the forms to create, describe and delete a team or robot. */
import type { FC } from 'hono/jsx';
import { nameOf, parseName } from '../../../vocabulary/names.ts';
import type { RequestContext } from '../../context.ts';
import { readForm, requireConfirmed } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import { ConfirmName, Input, Overtaken, Refusals, type Refused } from '../parts/form.tsx';
import { tried } from '../refused.tsx';
import { OrganizationPage, organizationIn } from './frame.tsx';
import { changePolicy, PolicyReview } from './policy.tsx';

export type PartKind = 'team' | 'robot';

/** Returns the subject of the team or robot in the path. */
export function subjectOf(c: RequestContext, kind: PartKind): string {
  return `${kind}:${organizationIn(c)}/${parseName(c.req.param(kind) ?? '')}`;
}

/** Returns the name of a team or robot within its organization. @param subject for example `team:acme/deploy` */
export function shortName(subject: string): string {
  return nameOf(subject).split('/')[1] ?? '';
}

/** Returns the path of the page of a team or robot, or of a page below it. */
export function partAt(subject: string, below = ''): string {
  const [kind = '', organization = '', name = ''] = subject.split(/[:/]/);
  return organizationAt(organization, `${kind}s/${name}${below}`);
}

/** Returns the name after which the next page of a list begins, or `null` at the end of the list. */
export function nextOf({ items, more }: { items: { subject: string }[]; more: boolean }): string | null {
  const end = items.at(-1);
  return more && end ? shortName(end.subject) : null;
}

type ShowRefused = (refused: Refused) => Promise<Response>;

/** Handles the form of the rights: saves them, or shows who would gain and lose rights. */
export async function answerPolicy(c: RequestContext, kind: PartKind, showRefused: ShowRefused): Promise<Response> {
  const form = await readForm(c);
  const subject = subjectOf(c, kind);
  const outcome = await tried(form, () => changePolicy(c, subject, form));
  if ('refused' in outcome) return showRefused(outcome.refused);
  if (outcome.done === null) return seeOther(partAt(subject), 'saved');
  return render(
    c,
    <OrganizationPage c={c} organization={organizationIn(c)} tab={`${kind}s`} title={`Rights of ${shortName(subject)}`}>
      <PolicyReview review={outcome.done} action={partAt(subject, '/policy')} back={partAt(subject)} />
    </OrganizationPage>,
  );
}

/** Handles the form that deletes a team or robot. The user must have typed its name. */
export async function answerDeletion(
  c: RequestContext,
  kind: PartKind,
  remove: (subject: string) => Promise<unknown>,
  showRefused: ShowRefused,
): Promise<Response> {
  const form = await readForm(c);
  const subject = subjectOf(c, kind);
  const outcome = await tried(form, async () => {
    requireConfirmed(form, shortName(subject));
    await remove(subject);
  });
  if ('refused' in outcome) return showRefused(outcome.refused);
  return seeOther(organizationAt(organizationIn(c), `${kind}s`), 'deleted');
}

/** The form that creates a team or robot. A button opens it. */
export const CreateForm: FC<{ organization: string; kind: PartKind; refused: Refused | undefined }> = (props) => {
  const { organization, kind, refused } = props;
  return (
    <details class="fold" open={refused !== undefined}>
      <summary class="button main">Create a {kind}</summary>
      <form method="post" action={organizationAt(organization, `${kind}s`)} class="panel narrow-panel">
        <Refusals refused={refused} />
        <Input name="name" label="Name" max={64} mono required refused={refused} />
        <Input name="description" label="Description" max={200} refused={refused} />
        <button type="submit" class="main">
          Create {kind}
        </button>
      </form>
    </details>
  );
};

interface Described {
  subject: string;
  description: string;
  version: number;
}

/** The form that changes the description of a team or robot. */
export const DescriptionForm: FC<{ part: Described; refused: Refused | undefined }> = ({ part, refused }) => (
  <form method="post" action={partAt(part.subject)}>
    <Refusals refused={refused} />
    <Overtaken refused={refused} now={part.description} />
    <input type="hidden" name="version" value={String(part.version)} />
    <Input name="description" label="Description" value={part.description} max={200} refused={refused} />
    <button type="submit">Save</button>
  </form>
);

interface DeletionProps {
  subject: string;
  kind: PartKind;
  /** The text that says what a deletion ends. */
  effect: string;
  refused: Refused | undefined;
}

/** The form that deletes a team or robot, folded away. */
export const DeletionForm: FC<DeletionProps> = ({ subject, kind, effect, refused }) => (
  <details class="fold spaced" open={refused !== undefined}>
    <summary>Delete the {kind}</summary>
    <form method="post" action={partAt(subject, '/deletion')}>
      <Refusals refused={refused} />
      <p>{effect} This cannot be undone.</p>
      <ConfirmName expected={shortName(subject)} refused={refused} />
      <button type="submit" class="danger">
        Delete the {kind}
      </button>
    </form>
  </details>
);
