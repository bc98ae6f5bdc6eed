/** The page that explains why somebody may, or may not, do something in a repository. */

import type { FC } from 'hono/jsx';
import { explain } from '../../../app/policies.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { explainQuery } from '../../../contract/policies.ts';
import { parse } from '../../../contract/valid.ts';
import { ACTIONS } from '../../../vocabulary/actions.ts';
import { isRefusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { Input, Refusals, type Refused, Select, sentence } from '../parts/form.tsx';
import { principalText, rightText } from '../parts/rights.tsx';
import { Table } from '../parts/table.tsx';
import { Chip } from '../parts/text.tsx';
import { statusOf } from '../refused.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';

type Explanation = Awaited<ReturnType<typeof explain>>;

interface Question {
  principal: string;
  action: string;
  tag: string;
}

export const explainPages = new Hono<AppEnv>().get('/repositories/:name{.+}/-/permissions/explain', async (c) => {
  const sent = (name: string) => c.req.query(name)?.trim() ?? '';
  const question = { principal: subjectOf(sent('principal')), action: sent('action') || 'pull', tag: sent('tag') };
  const [repository, answer] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    question.principal === '' ? null : answerTo(c, question),
  ]);
  const refused = answer !== null && 'refused' in answer ? answer.refused : undefined;
  const explanation = answer !== null && 'done' in answer ? answer.done : null;
  const shown = { c, repository, question, explanation, refused };
  return render(c, <ExplainPage {...shown} />, refused === undefined ? 200 : statusOf(refused.refusal));
});

/** Returns the subject for a text that a person typed. A bare name is that of a user. */
function subjectOf(text: string): string {
  return text === '' || text === '*' || text.includes(':') ? text : `user:${text}`;
}

async function answerTo(
  c: RequestContext,
  { principal, action, tag }: Question,
): Promise<{ done: Explanation } | { refused: Refused }> {
  try {
    const asked = { principal, action, repository: repositoryIn(c), ...(tag === '' ? {} : { tag }) };
    const checked = parse(explainQuery, asked);
    const { principal: about = null, action: right } = checked;
    const question = { principal: about, action: right, repository: repositoryIn(c), tag: checked.tag ?? null, claims: {} };
    return { done: await explain(callOf(c), question) };
  } catch (error) {
    if (!isRefusal(error, 'request-invalid')) throw error;
    return {
      refused: { refusal: error, value: (field) => c.req.query(field) ?? '', all: (field) => c.req.queries(field) ?? [] },
    };
  }
}

interface ExplainProps {
  c: RequestContext;
  repository: Repository;
  question: Question;
  explanation: Explanation | null;
  refused: Refused | undefined;
}

function ExplainPage({ c, repository, question, explanation, refused }: ExplainProps) {
  const { name } = repository;
  const { principal, action, tag } = question;
  return (
    <RepositoryPage
      c={c}
      repository={repository}
      tab="permissions"
      title={`Why can somebody do something in ${name}?`}
      json={withQuery('/api/v1/explain', { principal, action, repository: name, tag })}
    >
      <div class="settings">
        <section class="panel" aria-labelledby="explain-title">
          <h2 id="explain-title">Why can somebody do something?</h2>
          <form action={repositoryAt(name, 'permissions/explain')}>
            <Refusals refused={refused} />
            <Input
              name="principal"
              label="Who"
              hint="A user name, team:acme/dev, robot:acme/ci, key:ID, ci:RULE, or * for an anonymous caller."
              value={principal}
              max={200}
              mono
              required
              refused={refused}
            />
            <Select
              name="action"
              label="Does what"
              value={action}
              options={ACTIONS.map((one) => [one, rightText({ action: one })])}
              refused={refused}
            />
            <Input name="tag" label="With which tag" hint="Empty: no tag." value={tag} max={128} mono refused={refused} />
            <div class="actions">
              <button type="submit" class="main">
                Explain
              </button>
              <a href={repositoryAt(name, 'permissions')}>Back to permissions</a>
            </div>
          </form>
        </section>
        {explanation === null ? null : <Answer {...question} {...explanation} />}
      </div>
    </RepositoryPage>
  );
}

const Answer: FC<Question & Explanation> = ({ principal, action, tag, allowed, reason, decidedBy, matched, ...rest }) => {
  const { limitedBy, grantedBy, partial } = rest;
  return (
    <section class="panel" aria-labelledby="answer-title">
      <h2 id="answer-title">
        <Chip tone={allowed ? 'good' : 'bad'}>{allowed ? 'yes' : 'no'}</Chip> {principalText(principal)}{' '}
        {allowed ? 'may' : 'may not'} {rightText({ action })}
        {tag === '' ? '' : ` ${tag}`}
      </h2>
      <p>{sentence(reason)}</p>
      {limitedBy === null ? null : <p>The key {limitedBy} is narrowed and does not allow it.</p>}
      {matched.length === 0 ? null : (
        <Table
          caption="Statements that match"
          columns={[
            { head: 'From', cell: ({ from }) => <span class="strong">{from}</span> },
            { head: 'Effect', cell: ({ effect }) => <Chip tone={effect === 'allow' ? 'good' : 'bad'}>{effect}</Chip> },
            { head: 'Actions', cell: ({ actions }) => actions.map((one) => rightText({ action: one })).join(', ') },
            { head: 'Tags', cell: ({ tags }) => tags?.join(', ') ?? 'all' },
            {
              head: 'Decides',
              cell: (one) => (JSON.stringify(one) === JSON.stringify(decidedBy) ? 'this one decides' : ''),
            },
          ]}
          items={matched}
        />
      )}
      {grantedBy.length === 0 ? null : <p>Who can grant it: {grantedBy.map(principalText).join(', ')}.</p>}
      {partial ? <p class="hint">The answer considers only what you may know.</p> : null}
    </section>
  );
};
