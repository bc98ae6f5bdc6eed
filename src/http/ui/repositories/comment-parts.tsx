/** The components that show stars and comments, on the page "About" of a repository. */
import { raw } from 'hono/html';
import type { FC } from 'hono/jsx';
import type { ShownComment } from '../../../app/comments.ts';
import { COMMENT_MAX_BYTES } from '../../../contract/comments.ts';
import type { RequestContext } from '../../context.ts';
import { pathOf } from '../page.tsx';
import { repositoryAt, signInAt, withQuery } from '../parts/addresses.ts';
import { Refusals, type Refused, TextArea } from '../parts/form.tsx';
import { principalText } from '../parts/rights.tsx';
import { Pager } from '../parts/table.tsx';
import { Icon, When } from '../parts/text.tsx';

/** The number of comments on one page. */
export const COMMENTS_SHOWN = 20;

export const StarForm: FC<{ name: string; stars: number; starred: boolean; isPerson: boolean }> = (props) => {
  const { name, stars, starred, isPerson } = props;
  const count = stars.toLocaleString('en');
  if (!isPerson) {
    return (
      <span class="star">
        <Icon name="star" /> {count}
      </span>
    );
  }
  return (
    <form method="post" action={repositoryAt(name, 'star')} class="inline">
      <input type="hidden" name="starred" value={starred ? 'no' : 'yes'} />
      <button type="submit" class={starred ? 'star starred' : 'star'} aria-pressed={starred ? 'true' : 'false'}>
        <Icon name="star" />
        {starred ? 'Starred' : 'Star'}
        <span class="count">{count}</span>
      </button>
    </form>
  );
};

export interface CommentsProps {
  c: RequestContext;
  name: string;
  comments: readonly ShownComment[];
  last: string | undefined;
  next: string | null;
  /** True if the reader is signed in with a key that is not narrowed. Only such a reader may comment. */
  isPerson: boolean;
  /** True if the reader may delete comments of others. */
  mayModerate: boolean;
  /** The id of the comment that the reader is editing. */
  editing: number | undefined;
  /** The refused form: that of the comment `editing`, or otherwise that of a new comment. */
  refused: Refused | undefined;
}

export const Comments: FC<CommentsProps> = (props) => {
  const { c, name, comments, last, next, isPerson, editing, refused } = props;
  const isSignedOut = c.var.authority?.subject === '';
  return (
    <section id="comments" aria-labelledby="comments-title">
      <h2 id="comments-title">Comments</h2>
      {isPerson && editing === undefined ? (
        <TextForm action={repositoryAt(name, 'comments')} label="Write a comment" button="Comment" refused={refused} />
      ) : null}
      {isSignedOut ? (
        <p class="soft">
          <a href={signInAt(pathOf(c))}>Sign in</a> to comment.
        </p>
      ) : null}
      {comments.length === 0 ? <p class="soft">No comments yet.</p> : null}
      <ol class="comments">
        {comments.map((comment) => (
          <CommentItem {...props} comment={comment} />
        ))}
      </ol>
      <Pager path={repositoryAt(name, 'about')} query={{}} last={last} next={next} />
    </section>
  );
};

const CommentItem: FC<CommentsProps & { comment: ShownComment }> = ({ name, comment, mayModerate, editing, refused }) => {
  const { id, author, html, source, createdAt, editedAt, isOwn } = comment;
  const at = repositoryAt(name, `comments/${id}`);
  return (
    <li id={`comment-${id}`} class="panel">
      <header class="actions">
        <span class="strong">{author === null ? 'a person without access' : principalText(author)}</span>
        <a class="soft" href={`#comment-${id}`}>
          <When at={createdAt} />
        </a>
        {editedAt === null ? null : <span class="soft">edited</span>}
      </header>
      {editing === id && isOwn ? (
        <TextForm action={at} label="Change your comment" button="Save" id={id} value={source} refused={refused} />
      ) : (
        <div class="prose" dir="auto">
          {raw(html)}
        </div>
      )}
      <Controls name={name} id={id} isOwn={isOwn} mayModerate={mayModerate} isEdited={editing === id} />
    </li>
  );
};

interface ControlsProps {
  name: string;
  id: number;
  isOwn: boolean;
  mayModerate: boolean;
  /** True if the comment is being edited in a form. */
  isEdited: boolean;
}

const Controls: FC<ControlsProps> = ({ name, id, isOwn, mayModerate, isEdited }) => {
  if (!isOwn && !mayModerate) return null;
  return (
    <div class="actions">
      {isOwn && !isEdited ? (
        <a
          href={`${withQuery(repositoryAt(name, 'about'), { comment: id, last: id + 1 })}#comment-${id}`}
          aria-label={`Edit comment ${id}`}
        >
          Edit
        </a>
      ) : null}
      <details class="delete">
        <summary aria-label={`Delete comment ${id}`}>Delete</summary>
        <form method="post" action={repositoryAt(name, `comments/${id}`)} class="inline">
          <span class="soft">A deleted comment cannot be restored. </span>
          <button type="submit" name="delete" value="1" class="danger small">
            Delete comment
          </button>
        </form>
      </details>
    </div>
  );
};

interface TextFormProps {
  action: string;
  label: string;
  button: string;
  id?: number;
  value?: string;
  refused: Refused | undefined;
}

const TextForm: FC<TextFormProps> = ({ action, label, button, value = '', refused }) => (
  <form method="post" action={action} class="comment-form">
    <Refusals refused={refused} />
    <TextArea
      name="text"
      label={label}
      hint={`Markdown, up to ${COMMENT_MAX_BYTES.toLocaleString('en')} bytes.`}
      rows={4}
      max={COMMENT_MAX_BYTES}
      value={value}
      refused={refused}
    />
    <button type="submit" class="main">
      {button}
    </button>
  </form>
);
