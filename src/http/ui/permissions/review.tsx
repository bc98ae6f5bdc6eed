/** The review of a change of permissions: who gains and loses rights, before anything is saved. */
import type { FC } from 'hono/jsx';
import type { Preview } from '../../../app/policies.ts';
import type { ShownStatement } from '../../../contract/answers/statements.ts';
import { repositoryAt } from '../parts/addresses.ts';
import { Refusals, type Refused } from '../parts/form.tsx';
import { Differences } from '../parts/rights.tsx';

interface ReviewProps extends Preview {
  name: string;
  statements: readonly ShownStatement[];
  /** The version of the policy on which the change is based. */
  version: number | null;
  /** Set if the statements could not be saved. */
  refused: Refused | undefined;
}

export const Review: FC<ReviewProps> = ({ name, statements, version, changes, truncated, refused }) => {
  const page = repositoryAt(name, 'permissions');
  const isStale = refused?.refusal.reason === 'version-mismatch';
  const text = JSON.stringify(statements, null, 2);
  return (
    <section class="panel settings" aria-labelledby="review-title">
      <h2 id="review-title">Review: who gains and who loses</h2>
      <Refusals refused={refused} />
      {isStale ? <p>Somebody changed the permissions meanwhile. The list compares with what is saved now.</p> : null}
      <Differences changes={changes} truncated={truncated} />
      <form method="post" action={page}>
        <input type="hidden" name="what" value="save" />
        <input type="hidden" name="statements" value={text} />
        {version === null ? null : <input type="hidden" name="version" value={String(version)} />}
        <div class="actions">
          {isStale ? null : (
            <button type="submit" class="main">
              Save permissions
            </button>
          )}
          <a class={isStale ? 'button' : undefined} href={page}>
            {isStale ? 'Start from what is saved now' : 'Back'}
          </a>
        </div>
      </form>
      <details class="more">
        <summary>Statements as JSON</summary>
        <pre class="code" tabindex={0}>
          <code>{text}</code>
        </pre>
      </details>
    </section>
  );
};
