/** Handles the forms for stars and comments on the page "About" of a repository. */

import { changeComment, deleteComment, postComment, putStar } from '../../../app/comments.ts';
import { Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { statusOf, tried } from '../refused.tsx';
import { aboutPage } from './about.tsx';

export const commentPages = new Hono<AppEnv>()
  .post('/repositories/:name{.+}/-/star', async (c) => {
    const form = await readForm(c);
    await putStar(callOf(c), repositoryIn(c), form.text('starred') === 'yes');
    return seeOther(repositoryAt(repositoryIn(c), 'about'));
  })
  .post('/repositories/:name{.+}/-/comments', async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => postComment(callOf(c), repositoryIn(c), { text: form.raw('text') }));
    if ('done' in outcome) return seeOther(commentAt(repositoryIn(c), outcome.done.id));
    return render(c, await aboutPage(c, { refused: outcome.refused }), statusOf(outcome.refused.refusal));
  })
  .post('/repositories/:name{.+}/-/comments/:comment', async (c) => {
    const form = await readForm(c);
    const id = commentIn(c);
    const name = repositoryIn(c);
    if (form.has('delete')) {
      await deleteComment(callOf(c), name, id);
      return seeOther(`${repositoryAt(name, 'about')}#comments`, 'deleted');
    }
    const outcome = await tried(form, () => changeComment(callOf(c), name, id, { text: form.raw('text') }));
    if ('done' in outcome) return seeOther(commentAt(name, id), 'saved');
    return render(c, await aboutPage(c, { editing: id, refused: outcome.refused }), statusOf(outcome.refused.refusal));
  });

function commentAt(name: string, id: number): string {
  return `${withQuery(repositoryAt(name, 'about'), { last: id + 1 })}#comment-${id}`;
}

/** Returns the number of the comment in the path. @throws not-found if it is no number */
function commentIn(c: RequestContext): number {
  const text = c.req.param('comment') ?? '';
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new Refusal('not-found');
  return Number(text);
}
