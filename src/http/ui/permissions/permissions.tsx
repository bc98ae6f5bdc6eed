/**
 * The page of who may use a repository, and the forms that give and take rights. Every change is previewed before it is saved.
 */

import { grantsIn, isConditional, listGrantsElsewhere, withoutPrincipal, withPreset } from '../../../app/grants.ts';
import { getPolicy, previewChange, savePolicy } from '../../../app/policies.ts';
import { getRepository } from '../../../app/repositories.ts';
import type { ShownStatement } from '../../../contract/answers/statements.ts';
import type { SentStatement } from '../../../contract/statements.ts';
import { jsonOf } from '../../../oci/json.ts';
import { PRESETS, type Preset } from '../../../vocabulary/actions.ts';
import { isPrincipal } from '../../../vocabulary/names.ts';
import { invalidInput } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { Form, readForm, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import type { Refused } from '../parts/form.tsx';
import { statusOf, tried } from '../refused.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';
import { wordsIn } from '../rights.tsx';
import { GrantForm, OtherGrants, OwnGrants, StatementsForm } from './grants.tsx';
import { Review } from './review.tsx';

export const permissionPages = new Hono<AppEnv>()
  .get('/repositories/:name{.+}/-/permissions', async (c) => render(c, await page(c)))
  .post('/repositories/:name{.+}/-/permissions', async (c) => {
    const form = await readForm(c);
    const wanted = await tried(form, async () => changeIn(form));
    if ('refused' in wanted) return render(c, await page(c, wanted.refused), statusOf(wanted.refused.refusal));
    const version = versionIn(form);
    if (form.text('what') !== 'save') return review(c, wanted.done, version);
    const statements = wanted.done([]) as SentStatement[];
    const saved = await tried(form, () => savePolicy(callOf(c), subjectOf(c), statements, version));
    if ('done' in saved) return seeOther(repositoryAt(repositoryIn(c), 'permissions'), 'saved');
    return review(c, wanted.done, version, saved.refused);
  });

function subjectOf(c: RequestContext): string {
  return `repository:${repositoryIn(c)}`;
}

/** Returns the statements that a form asks for, from the saved ones. The operation checks them. */
type Change = (saved: readonly ShownStatement[]) => unknown[];

/** @throws request-invalid */
function changeIn(form: Form): Change {
  const what = form.text('what');
  if (what === 'save' || what === 'statements') {
    const statements = statementsIn(form);
    return () => statements;
  }
  const principal = principalIn(form.text('principal'));
  if (what === 'remove') return (saved) => withoutPrincipal(saved, principal, true);
  const preset = form.text('preset');
  if (!Object.keys(PRESETS).includes(preset)) throw invalidInput({ at: 'preset', message: 'choose what to allow' });
  return (saved) => withPreset(saved, principal, preset as Preset, wordsIn(form.raw('tags')));
}

/** Returns the principal that a person typed. A bare name is that of a user. @throws request-invalid */
function principalIn(text: string): string {
  const principal = text === '*' || text.includes(':') ? text : `user:${text}`;
  if (isPrincipal(principal)) return principal;
  const message = 'must be a user name, team:ORGANIZATION/NAME, robot:ORGANIZATION/NAME, organization:NAME, or * for everybody';
  throw invalidInput({ at: 'principal', message });
}

function statementsIn(form: Form): unknown[] {
  const sent = jsonOf(form.raw('statements'));
  if (Array.isArray(sent)) return sent;
  throw invalidInput({ at: 'statements', message: 'must be a list of statements in JSON' });
}

async function page(c: RequestContext, refused?: Refused) {
  const [repository, policy, others] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    getPolicy(callOf(c), subjectOf(c)),
    listGrantsElsewhere(callOf(c), repositoryIn(c)),
  ]);
  const { name } = repository;
  const own = grantsIn(policy.statements);
  const shown = { name, version: policy.version, refused };
  return (
    <RepositoryPage
      c={c}
      repository={repository}
      tab="permissions"
      title={`Permissions of ${name}`}
      json={`/api/v1/repositories/${name}/-/policy`}
    >
      <section class="wide" aria-labelledby="who-title">
        <header class="subject">
          <h2 id="who-title">Who may use this repository</h2>
          <a class="button" href={repositoryAt(name, 'permissions/explain')}>
            Why can somebody do something?
          </a>
        </header>
        <Warnings warnings={policy.warnings} />
        <OwnGrants name={name} version={policy.version} grants={own} />
        <Conditional count={policy.statements.filter(isConditional).length} />
        <OtherGrants {...others} />
      </section>
      <div class="settings">
        <GrantForm {...shown} principal={c.req.query('principal')} grants={own} known={others.items} />
        <StatementsForm {...shown} statements={policy.statements} />
      </div>
    </RepositoryPage>
  );
}

/** Says how many statements the table above leaves out. */
function Conditional({ count }: { count: number }) {
  if (count === 0) return null;
  const what = count === 1 ? '1 more statement applies' : `${count} more statements apply`;
  return <p class="soft">{what} under conditions, or with exceptions: see the statements as JSON.</p>;
}

function Warnings({ warnings }: { warnings: readonly string[] }) {
  if (warnings.length === 0) return null;
  return (
    <div class="notice warn">
      <ul>
        {warnings.map((warning) => (
          <li>{warning}</li>
        ))}
      </ul>
    </div>
  );
}

/**
 * Answers with the page that shows who would gain and lose rights by these statements. If they cannot be saved, the page says
 * why.
 */
async function review(c: RequestContext, change: Change, version: number | null, refused?: Refused): Promise<Response> {
  let statements: ShownStatement[] = [];
  const changed = (saved: readonly ShownStatement[]) => {
    statements = change(saved) as ShownStatement[];
    return statements as SentStatement[];
  };
  const [repository, preview] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    tried(new Form(new URLSearchParams()), () => previewChange(callOf(c), subjectOf(c), changed)),
  ]);
  if ('refused' in preview) {
    // The form with the statements says why they cannot be saved.
    const value = (name: string) => (name === 'statements' ? JSON.stringify(statements, null, 2) : '');
    return render(c, await page(c, { ...preview.refused, value }), statusOf(preview.refused.refusal));
  }
  const { name } = repository;
  return render(
    c,
    <RepositoryPage c={c} repository={repository} tab="permissions" title={`Review permissions of ${name}`}>
      <Warnings warnings={preview.done.warnings} />
      <Review name={name} statements={statements} version={version} {...preview.done} refused={refused} />
    </RepositoryPage>,
    refused === undefined ? 200 : statusOf(refused.refusal),
  );
}
