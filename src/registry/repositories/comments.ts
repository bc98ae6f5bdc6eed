/**
 * Comments that users write on repositories. Their number and size are limited for each repository and each user, so that
 * nobody can make the page of a repository slow (invariant 12).
 */
import { type Database, newBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { REPOSITORY_ID, requireRepository } from './repositories.ts';

export interface Comment {
  /** The number of the comment in its repository, from 1. */
  id: number;
  /** The subject of the author, for example `user:alice`. */
  author: string;
  /** The text as the author wrote it, in Markdown. */
  source: string;
  html: string;
  /** In seconds since the epoch. `editedAt` is `null` if the comment was never edited. */
  createdAt: number;
  editedAt: number | null;
}

/** A Markdown text and its HTML. */
interface RenderedText {
  source: string;
  html: string;
}

/** The maximum number of comments in a repository, and of comments of one user in a repository. */
export const COMMENTS_MAX = 1000;
export const COMMENTS_OF_PERSON_MAX = 100;

const COLUMNS = 'id, author, source, html, created_at AS createdAt, edited_at AS editedAt';
const OF_REPOSITORY = `FROM comments WHERE repository_id = ${REPOSITORY_ID}`;
const ONE = `${OF_REPOSITORY} AND id = :id`;

/**
 * Lists comments, the newest first.
 * @param before the id of the last comment of the previous page, or `null` for the first page
 */
export async function listComments(
  env: Database,
  repository: RepositoryName,
  { before, limit }: { before: number | null; limit: number },
): Promise<Page<Comment>> {
  const { results } = await prepare(env, `SELECT ${COLUMNS} ${OF_REPOSITORY} AND id < :before ORDER BY id DESC LIMIT :rows`, {
    repository,
    before: before ?? Number.MAX_SAFE_INTEGER,
    rows: limit + 1,
  }).all<Comment>();
  return pageOf(results, limit);
}

export async function findComment(env: Database, repository: RepositoryName, id: number): Promise<Comment | null> {
  return prepare(env, `SELECT ${COLUMNS} ${ONE}`, { repository, id }).first<Comment>();
}

/** @throws repository-unknown, limit-reached */
export async function addComment(env: Database, repository: RepositoryName, text: RenderedText, by: Actor): Promise<Comment> {
  const author = by.subject;
  const batch = newBatch(env);
  requireRepository(batch, repository);
  batch.require(
    'limit-reached',
    `(SELECT count(*) < ${COMMENTS_MAX} AND coalesce(sum(author = :author), 0) < ${COMMENTS_OF_PERSON_MAX} ${OF_REPOSITORY})`,
    { repository, author },
    {
      message:
        `a repository has up to ${COMMENTS_MAX} comments, and ${COMMENTS_OF_PERSON_MAX} of one person: nothing was saved. ` +
        'Delete an old one first',
    },
  );
  batch.run(
    `INSERT INTO repository_pages (repository_id, last_comment) VALUES (${REPOSITORY_ID}, 1)
     ON CONFLICT DO UPDATE SET last_comment = last_comment + 1`,
    { repository },
  );
  const added = batch.query<Comment>(
    `INSERT INTO comments (repository_id, id, author, source, html, created_at)
     SELECT repository_id, last_comment, :author, :source, :html, unixepoch() FROM repository_pages
       WHERE repository_id = ${REPOSITORY_ID} RETURNING ${COLUMNS}`,
    { repository, author, ...text },
  );
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'comment.created' AS type, json_object('comment', last_comment, 'author', :author) AS target
      FROM repository_pages WHERE repository_id = ${REPOSITORY_ID}`,
    parameters: { repository, author },
  });
  return (await batch.commit()).first(added) as Comment;
}

/**
 * Changes a comment that the user `by` wrote. If the text is the same, nothing is changed.
 * @throws not-found if there is no such comment, or another user wrote it
 */
export async function editComment(
  env: Database,
  repository: RepositoryName,
  { id, text, by }: { id: number; text: RenderedText; by: Actor },
): Promise<Comment> {
  const parameters = { repository, id, author: by.subject, ...text };
  const batch = newBatch(env);
  batch.require('not-found', `EXISTS (SELECT 1 ${ONE} AND author = :author)`, parameters);
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'comment.changed' AS type, json_object('comment', id, 'author', author) AS target ${ONE}
      AND source <> :source`,
    parameters,
  });
  batch.run(
    `UPDATE comments SET source = :source, html = :html, edited_at = unixepoch()
     WHERE repository_id = ${REPOSITORY_ID} AND id = :id AND source <> :source`,
    parameters,
  );
  const edited = batch.query<Comment>(`SELECT ${COLUMNS} ${ONE}`, parameters);
  return (await batch.commit()).first(edited) as Comment;
}

/**
 * Deletes a comment.
 * @param author the required author of the comment, or `null` for any author
 * @throws not-found
 */
export async function deleteComment(
  env: Database,
  repository: RepositoryName,
  { id, author, by }: { id: number; author: string | null; by: Actor },
): Promise<void> {
  const parameters = { repository, id, author };
  const batch = newBatch(env);
  batch.require('not-found', `EXISTS (SELECT 1 ${ONE} AND author = coalesce(:author, author))`, parameters);
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'comment.deleted' AS type, json_object('comment', id, 'author', author) AS target ${ONE}`,
    parameters,
  });
  batch.run(`DELETE ${ONE}`, parameters);
  await batch.commit();
}
