/** The form that creates a repository. */

import { putRepository } from '../../../app/repositories.ts';
import { parseRepositoryName } from '../../../oci/name.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, readForm } from '../forms.ts';
import { Page, render, seeOther } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import { Choice, Input, Refusals, type Refused } from '../parts/form.tsx';
import { statusOf, tried } from '../refused.tsx';
import { viewerCall } from '../viewer.ts';

export const newRepositoryPages = new Hono<AppEnv>()
  .get('/repositories/-/new', (c) => render(c, <NewRepository c={c} namespace={c.req.query('namespace')} />))
  .post('/repositories/-/new', async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, async () => {
      const name = parseRepositoryName(`${form.text('namespace')}/${form.text('name')}`);
      const call = await viewerCall(c, [name]);
      return putRepository(call, name, changeIn(form), 0);
    });
    if ('done' in outcome) return seeOther(repositoryAt(outcome.done.repository.name), 'created');
    return render(c, <NewRepository c={c} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  });

function changeIn(form: Form) {
  return {
    visibility: form.text('visibility') === 'public' ? ('public' as const) : ('private' as const),
    ...(form.has('description') && form.text('description') !== '' ? { description: form.text('description') } : {}),
  };
}

/**
 * Returns the namespaces in which the reader may certainly create repositories: the reader's own, and those of the reader's
 * organizations.
 */
function namespacesOf(c: RequestContext): string[] {
  const { subject, belongsTo } = callOf(c).authority;
  return [...(subject.startsWith('user:') ? [subject.slice('user:'.length)] : []), ...belongsTo];
}

function NewRepository({ c, namespace, refused }: { c: RequestContext; namespace?: string | undefined; refused?: Refused }) {
  const namespaces = namespacesOf(c);
  return (
    <Page c={c} title="Create repository" section="repositories">
      <section class="narrow">
        <h1>Create repository</h1>
        <form method="post" action="/repositories/-/new" class="panel">
          <Refusals refused={refused} />
          <Namespace names={namespaces} chosen={namespace} refused={refused} />
          <Input
            name="name"
            label="Name"
            hint="Lower-case letters and digits, separated by . _ - or /."
            max={255}
            mono
            required
            autofocus
            refused={refused}
          />
          <Input
            name="description"
            label="Description"
            hint="Up to 100 characters. It can be changed."
            max={100}
            refused={refused}
          />
          <Choice
            name="visibility"
            legend="Visibility"
            value={refused?.value('visibility') || 'private'}
            options={[
              ['private', 'Private', 'Only those who have a right can see and pull it.'],
              ['public', 'Public', 'Everybody can see and pull it, without logging in.'],
            ]}
          />
          <button type="submit" class="main">
            Create repository
          </button>
        </form>
      </section>
    </Page>
  );
}

function Namespace({ names, chosen, refused }: { names: string[]; chosen: string | undefined; refused: Refused | undefined }) {
  return (
    <>
      <Input
        name="namespace"
        label="Namespace"
        hint="Your user name, or an organization in which you may create repositories."
        value={chosen ?? names[0] ?? ''}
        list="namespaces"
        max={64}
        mono
        required
        refused={refused}
      />
      <datalist id="namespaces">
        {names.map((name) => (
          <option value={name} />
        ))}
      </datalist>
    </>
  );
}
