/** Stars and comments, which users give to repositories from which they may pull. */
import { allows } from '../auth/policy.ts';
import { authoritiesOf } from '../auth/rights/lookup.ts';
import { commentChange } from '../contract/comments.ts';
import { valid } from '../contract/valid.ts';
import { settings } from '../env.ts';
import type { Actor } from '../events/event.ts';
import type { Rendered } from '../markdown.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page } from '../oci/page.ts';
import {
  addComment,
  type Comment,
  deleteComment as deleteRow,
  editComment,
  findComment,
  listComments as listRows,
} from '../registry/repositories/comments.ts';
import { readStars, type Stars, setStar } from '../registry/repositories/stars.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { may, maySeeActors, requireRight, requireUnscopedUser } from './access.ts';
import type { Call } from './call.ts';

/** A comment with the fields that the caller may see. */
export interface ShownComment extends Omit<Comment, 'author'> {
  /** `null` if the author may no longer pull from the repository and the caller may not see who changes things there. */
  author: string | null;
  /** True if the caller is the author. */
  isOwn: boolean;
}

/** The maximum number of bytes of a comment's HTML. So a page of comments has at most a few hundred kilobytes. */
const COMMENT_HTML_MAX_BYTES = 16 * 1024;

/** Requires a user who may pull, with a credential that is not narrowed. @throws unauthenticated, not-found, forbidden */
function requirePerson(call: Call, repository: RepositoryName): Actor {
  const by = requireRight(call, 'pull', repository);
  requireUnscopedUser(call);
  return by;
}

export async function getStars(call: Call, repository: RepositoryName): Promise<Stars> {
  requireRight(call, 'pull', repository);
  return readStars(call.env, repository, call.authority.subject);
}

/** Sets or removes the caller's star. Setting it twice changes nothing. */
export async function putStar(call: Call, repository: RepositoryName, starred: boolean): Promise<Stars> {
  const { subject } = requirePerson(call, repository);
  await setStar(call.env, repository, subject, starred);
  return readStars(call.env, repository, subject);
}

/** Lists comments, the newest first. Returns none if the setting `COMMENTS` is off. */
export async function listComments(
  call: Call,
  repository: RepositoryName,
  page: { before: number | null; limit: number },
): Promise<Page<ShownComment>> {
  requireRight(call, 'pull', repository);
  if (!settings(call.env).comments) return { items: [], more: false };
  const { items, more } = await listRows(call.env, repository, page);
  const hidden = await hiddenAuthors(call, repository, items);
  return { items: items.map((item) => shownTo(call, item, hidden)), more };
}

/** Returns the authors whose names the caller may not see, because these authors may no longer pull. */
async function hiddenAuthors(call: Call, repository: RepositoryName, items: readonly Comment[]): Promise<Set<string>> {
  if (maySeeActors(call, repository)) return new Set();
  const authors = [...new Set(items.map(({ author }) => author))].filter((author) => author !== call.authority.subject);
  if (authors.length === 0) return new Set();
  const known = await authoritiesOf(call.env, authors, [repository]);
  const present = known.filter((authority) => allows(authority, 'pull', repository)).map(({ subject }) => subject);
  return new Set(authors.filter((author) => !present.includes(author)));
}

function shownTo({ authority }: Call, { author, ...comment }: Comment, hidden: Set<string>): ShownComment {
  return { ...comment, author: hidden.has(author) ? null : author, isOwn: author === authority.subject };
}

/** @throws request-invalid; limit-reached if there are too many comments; disabled if the setting `COMMENTS` is off */
export async function postComment(call: Call, repository: RepositoryName, change: { text: string }): Promise<ShownComment> {
  const by = requireWriter(call, repository);
  return shownTo(call, await addComment(call.env, repository, await renderedText(change), by), new Set());
}

/**
 * Changes a comment of the caller. @throws request-invalid, disabled; not-found if there is no such comment or another user
 * wrote it
 */
export async function changeComment(
  call: Call,
  repository: RepositoryName,
  id: number,
  change: { text: string },
): Promise<ShownComment> {
  const by = requireWriter(call, repository);
  return shownTo(call, await editComment(call.env, repository, { id, text: await renderedText(change), by }), new Set());
}

/** Returns a comment of the caller for editing. @throws not-found if there is no such comment or another user wrote it */
export async function getOwnComment(call: Call, repository: RepositoryName, id: number): Promise<ShownComment> {
  const { subject } = requireWriter(call, repository);
  const found = await findComment(call.env, repository, id);
  if (found?.author !== subject) throw new Refusal('not-found');
  return shownTo(call, found, new Set());
}

/**
 * Deletes a comment. The author may delete it, and everybody who may administer the repository.
 * @throws not-found if there is no such comment or the caller may not delete it
 */
export async function deleteComment(call: Call, repository: RepositoryName, id: number): Promise<void> {
  const by = requirePerson(call, repository);
  const author = may(call.authority, 'admin', repository) ? null : by.subject;
  await deleteRow(call.env, repository, { id, author, by });
}

function requireWriter(call: Call, repository: RepositoryName): Actor {
  const by = requirePerson(call, repository);
  if (settings(call.env).comments) return by;
  throw new Refusal('disabled', { message: 'comments are switched off in this registry: nothing was changed' });
}

async function renderedText(change: { text: string }): Promise<Rendered> {
  const { text } = valid(commentChange, change);
  const { rendered } = await import('../markdown.ts');
  return rendered(text, 'text', COMMENT_HTML_MAX_BYTES);
}
