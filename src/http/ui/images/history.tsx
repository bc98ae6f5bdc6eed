/** The page with the history of a tag: what it named, when, and who changed it. A form rolls the tag back. */

import { may } from '../../../app/access.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { listTagHistory, rollBackTag, type ShownTagChange } from '../../../app/tags.ts';
import { parseCondition } from '../../../oci/condition.ts';
import { isTag, type Tag } from '../../../oci/reference.ts';
import { Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, readForm } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { imageAt, repositoryAt, tagAt, withQuery } from '../parts/addresses.ts';
import { Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Digest, Principal, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';

const PATH = '/repositories/:name{.+}/-/tags/:tag/history';
const PAGE_SIZE = 50;

export const historyPages = new Hono<AppEnv>()
  .get(PATH, (c) => showHistory(c, tagIn(c.req.param('tag'))))
  .post(PATH, async (c) => {
    const [form, tag] = [await readForm(c), tagIn(c.req.param('tag'))];
    const outcome = await tried(form, async () =>
      rollBackTag(callOf(c), repositoryIn(c), tag, { point: pointIn(form) }, conditionIn(form)),
    );
    if ('done' in outcome) return seeOther(`${tagAt(repositoryIn(c), tag)}/history`, 'rolled-back');
    return showHistory(c, tag, outcome.refused);
  });

/** @throws not-found if the text is no valid tag */
function tagIn(text: string): Tag {
  if (isTag(text)) return text;
  throw new Refusal('not-found');
}

/** Returns the number of the change in the form. @throws request-invalid */
function pointIn(form: Form): number {
  const text = form.text('point');
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new Refusal('request-invalid', { message: 'choose a point of the history. Nothing was changed' });
}

/** Returns the condition that the tag still names the digest that the page showed, or is still deleted. */
function conditionIn(form: Form) {
  const now = form.text('now');
  return now === '' ? parseCondition(undefined, '*') : parseCondition(`"${now}"`, undefined);
}

async function showHistory(c: RequestContext, tag: Tag, refused?: Refused): Promise<Response> {
  const [call, name, last] = [callOf(c), repositoryIn(c), c.req.query('last')];
  const before = last !== undefined && /^[1-9]\d{0,14}$/.test(last) ? Number(last) : null;
  const [repository, page, newest] = await Promise.all([
    getRepository(call, name),
    listTagHistory(call, name, tag, { before, limit: PAGE_SIZE }),
    before === null ? null : listTagHistory(call, name, tag, { before: null, limit: 1 }),
  ]);
  const [current = null] = (newest ?? page).items;
  const props = { c, repository, tag, items: page.items, more: page.more, last, current, refused };
  return render(c, <HistoryPage {...props} />, refused ? statusOf(refused.refusal) : 200);
}

interface HistoryProps {
  c: RequestContext;
  repository: Repository;
  tag: Tag;
  items: ShownTagChange[];
  more: boolean;
  last: string | undefined;
  /** The latest change of the tag. */
  current: ShownTagChange | null;
  refused: Refused | undefined;
}

function HistoryPage({ c, repository, tag, items, more, last, current, refused }: HistoryProps) {
  const { name } = repository;
  const path = `${tagAt(name, tag)}/history`;
  const isGone = current !== null && current.digest === null;
  const { authority } = callOf(c);
  const mayRollBack = may(authority, 'push', repositoryIn(c), tag) && (isGone || may(authority, 'retag', repositoryIn(c), tag));
  return (
    <RepositoryPage
      c={c}
      repository={repository}
      tab=""
      title={`History of ${name}:${tag}`}
      json={`/api/v1/repositories/${name}/-/tags/${tag}/history`}
    >
      <Refusals refused={refused} />
      <div class="subject">
        <h2>
          History of{' '}
          {isGone ? (
            <span class="mono">{tag}</span>
          ) : (
            <a class="mono" href={tagAt(name, tag)}>
              {tag}
            </a>
          )}
        </h2>
      </div>
      {isGone ? <p class="soft">The tag is deleted. It can be set again to an image that it named.</p> : null}
      {items.length === 0 ? (
        <Empty title="No changes of this tag are kept" />
      ) : (
        <Table
          caption={`Changes of ${tag}, the newest first`}
          columns={columnsOf({ name, path, current, mayRollBack })}
          items={items}
        />
      )}
      <Pager path={path} query={{}} last={last} next={more ? String(items.at(-1)?.point ?? '') : null} />
    </RepositoryPage>
  );
}

interface Shown {
  name: string;
  path: string;
  current: ShownTagChange | null;
  mayRollBack: boolean;
}

function columnsOf(shown: Shown): Column<ShownTagChange>[] {
  return [
    { head: 'When', cell: ({ at }) => <When at={at} /> },
    { head: 'Change', cell: changeText },
    {
      head: 'Names since then',
      cell: ({ digest, present }) => {
        if (digest === null) return <span class="soft">nothing</span>;
        return (
          <>
            {present ? <Digest digest={digest} href={imageAt(shown.name, digest)} /> : <Digest digest={digest} />}
            {present ? null : <span class="soft">the image is deleted</span>}
          </>
        );
      },
    },
    {
      head: 'By',
      cell: ({ by }) => {
        if (by === null) return <span class="soft">not shown</span>;
        return by.subject === '' ? 'the registry' : <Principal subject={by.subject} {...(by.key ? { key: by.key } : {})} />;
      },
    },
    { head: 'Actions', cell: (change) => <Actions change={change} {...shown} /> },
  ];
}

/** The words for the causes of a change that made the tag name a manifest. */
const CAUSES = { push: 'pushed', rollback: 'rolled back', restore: 'restored from the trash' } as const;

function changeText({ cause, digest, previous }: ShownTagChange): string {
  if (digest === null) return cause === 'lifecycle' ? 'deleted by a lifecycle rule' : 'deleted';
  if (cause !== null && cause !== 'push' && cause in CAUSES) return CAUSES[cause as keyof typeof CAUSES];
  return previous === null ? 'created' : 'moved';
}

function Actions({ change, name, path, current, mayRollBack }: Shown & { change: ShownTagChange }) {
  const { digest, point, present } = change;
  if (digest === null) return '';
  if (digest === current?.digest) return <span class="soft">{point === current.point ? 'now' : 'the same as now'}</span>;
  if (!present) return '';
  return (
    <div class="actions">
      {mayRollBack ? (
        <form method="post" action={path} class="inline">
          <input type="hidden" name="point" value={String(point)} />
          <input type="hidden" name="now" value={current?.digest ?? ''} />
          <button type="submit" class="small" aria-label={`Roll back to ${digest.slice(0, SHORT)}`}>
            Roll back
          </button>
        </form>
      ) : null}
      {current?.digest ? (
        <a href={withQuery(repositoryAt(name, 'compare'), { from: digest, to: current.digest })}>Compare</a>
      ) : null}
    </div>
  );
}

/** The number of characters of a digest in a sentence. */
const SHORT = 19;
