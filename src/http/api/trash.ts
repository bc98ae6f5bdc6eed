/** What was deleted: listed, restored, or taken away for good before its days are over. */
import { Hono } from 'hono';
import * as z from 'zod';
import { openCursor, sealCursor } from '../../app/sealed-cursor.ts';
import type { Authority } from '../../auth/authority.ts';
import { restorePolicy } from '../../auth/rights/policies.ts';
import { common, judgeOf, patternsOf, reachOf } from '../../auth/visibility.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { statementsOf } from '../../events/batch.ts';
import { isDigest } from '../../oci/digest.ts';
import { isTag } from '../../oci/reference.ts';
import { purgeEntry } from '../../registry/gc/purge.ts';
import { requireDeletion } from '../../registry/manifests/deletion.ts';
import {
  type DeletedRepository,
  findEntry,
  listDeletedRepositories,
  listTrash,
  type Place,
  type TrashEntry,
} from '../../registry/trash/listing.ts';
import { restoreRepository } from '../../registry/trash/repositories.ts';
import { notInTrash, restoreManifest, restoreTag } from '../../registry/trash/restore.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, actorOf, finishing, type RequestContext } from '../context.ts';
import { answer, answerPage, timeOf } from './answers.ts';
import { asks, asksAboutTrash, asksFor } from './guard.ts';
import { operation } from './operation.ts';
import { pageQueryOf } from './params.ts';

const GROUP = 'Trash';

/** The list of deleted repositories, as places in it are sealed for it. */
const DELETED = 'deleted-repositories';

const deleted = {
  deletedAt: z.iso.datetime(),
  deletedBy: z.string().describe('A subject; `registry` where a rule took it'),
  restorableUntil: z.iso.datetime().describe('Past it, it can be restored for as long as it is still listed'),
};

const entrySchema = z.strictObject({
  kind: z.enum(['manifest', 'tag']),
  name: z.string().describe('The digest, or the tag'),
  digest: z.string().describe('Of the manifest, or of what the tag named'),
  tags: z.array(z.string()).describe('Those that named the manifest and went with it'),
  mediaType: z.nullable(z.string()).describe('Of a manifest'),
  size: z.nullable(z.int()).describe('Of a manifest, in bytes'),
  reason: z.nullable(z.string()).describe('The rule that took it; null where somebody did'),
  ...deleted,
});

const repositorySchema = z.strictObject({
  entry: z.string().describe('What it is restored by: of one name there may be several'),
  name: z.string(),
  ...deleted,
});

const restoredSchema = z.strictObject({
  tags: z.array(z.string()).describe('Tags that name it again'),
  notRestored: z.array(z.string()).describe('Tags that went with it and are taken now; they stay in the trash'),
  manifests: z.array(z.string()).describe('Digests of what came back'),
});

const nameSchema = z.strictObject({ name: z.string() });

const purgedSchema = z.strictObject({
  purged: z.string(),
  note: z.string(),
});

const list = z.strictObject(PAGE_QUERY);

const restored = { 200: { description: 'What came back', schema: restoredSchema } };
const purged = {
  202: {
    description: 'It cannot be restored any more; its bytes go with the next pass of the collector',
    schema: purgedSchema,
  },
};

export const trash = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/trash',
    asksFor('delete'),
    operation({
      group: GROUP,
      summary: 'What was deleted of a repository',
      query: list,
      answers: {
        200: { description: 'A page of it: manifests by digest, then tags by name', schema: pageSchema(entrySchema) },
      },
    }),
    async (c) => {
      const { after, limit } = pageQueryOf(c.var.query);
      const [kind = '', ...name] = after.split(' ');
      const page = await listTrash(c.env, c.var.repository, { after: { kind, name: name.join(' ') }, limit });
      return answerPage(page, shownEntry, (entry) => `${entry.kind} ${entry.name}`);
    },
  )
  .post(
    '/repositories/:name{.+}/-/trash/tags/:tag/restore',
    asksFor('delete'),
    operation({
      group: GROUP,
      summary: 'Restore a tag',
      description:
        'It names what it did, which is restored as well where that was deleted. Refused while there is a tag of this name: that one is rolled back instead.',
      answers: restored,
    }),
    async (c) => answer(await finishing(c, restoreTag(c.env, c.var.repository, tagIn(c), actorOf(c)))),
  )
  .post(
    '/repositories/:name{.+}/-/trash/manifests/:digest/restore',
    asksFor('delete'),
    operation({
      group: GROUP,
      summary: 'Restore a manifest',
      description:
        'With those of its tags that are free, with what it lists, and with its referrers, signatures and attestations, as far as they are in the trash and went with it. Refused where content that it needs is gone for good.',
      answers: restored,
    }),
    async (c) => answer(await finishing(c, restoreManifest(c.env, c.var.repository, digestIn(c), actorOf(c)))),
  )
  .delete(
    '/repositories/:name{.+}/-/trash/tags/:tag',
    asksFor('admin'),
    operation({ group: GROUP, summary: 'Take a tag out of the trash for good', answers: purged }),
    async (c) => answerPurged(c, await findEntry(c.env, c.var.repository, 'tag', tagIn(c)), tagIn(c)),
  )
  .delete(
    '/repositories/:name{.+}/-/trash/manifests/:digest',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'Take a manifest out of the trash for good',
      description:
        'For a secret that was pushed by mistake: it cannot be restored any more. The bytes of what only it needed go with the next pass of the collector after their grace period.',
      answers: purged,
    }),
    async (c) => answerPurged(c, await findEntry(c.env, c.var.repository, 'manifest', digestIn(c)), digestIn(c)),
  )
  .get(
    '/trash',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'Deleted repositories that you may restore',
      query: list,
      description: 'A page may be short or empty before the end, which is where `next` is null.',
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(repositorySchema) } },
    }),
    async (c) => {
      const { authority } = c.var;
      const { after, limit } = pageQueryOf(c.var.query);
      const place = placeOf(await openCursor(c.env, DELETED, after));
      const judge = judgeOf(authority, 'admin');
      const page = await listDeletedRepositories(c.env, { after: place, limit }, reachToAdmin(authority), (name) =>
        judge(name),
      );
      const brokeOff = page.brokeOff && (await sealCursor(c.env, DELETED, keyOf(page.brokeOff)));
      return answerPage(page, shownRepository, keyOf, brokeOff);
    },
  )
  .post(
    '/trash/:entry/restore',
    asksAboutTrash(),
    operation({
      group: GROUP,
      summary: 'Restore a repository',
      description:
        'With its images, tags, descriptions, rules and policy, as they were; its webhooks are gone. For whoever may administer its name without its own policy. Refused while another repository has the name.',
      answers: { 200: { description: 'It is there again', schema: nameSchema } },
    }),
    async (c) => {
      const { trashed } = c.var;
      const also = statementsOf(c.env, (batch) => restorePolicy(batch, `repository:${trashed.name}`, trashed.entry));
      await finishing(c, restoreRepository(c.env, trashed, { by: actorOf(c), also }));
      return answer({ name: trashed.name });
    },
  )
  .delete(
    '/trash/:entry',
    asksAboutTrash(),
    operation({
      group: GROUP,
      summary: 'Take a deleted repository away for good',
      description: 'It cannot be restored any more; the collector takes away what it had in its next passes.',
      answers: purged,
    }),
    async (c) => {
      const { entry, name, isPurging } = c.var.trashed;
      if (isPurging) return answerGone(name);
      return answerPurged(c, { repositoryId: entry, kind: 'repository', name: '' }, name);
    },
  );

function keyOf({ name, entry }: { name: string; entry: number | string }): string {
  return `${name} ${entry}`;
}

/** @throws request-invalid */
function placeOf(key: string | null): Place {
  if (key === null) throw new Refusal('request-invalid', { message: '`last` is no place in this list: begin anew' });
  const [name = '', entry = ''] = key.split(' ');
  return { name, entry: /^\d{1,15}$/.test(entry) ? Number(entry) : 0 };
}

/** What cannot exist is not there. @throws manifest-unknown */
function tagIn(c: RequestContext) {
  const tag = c.req.param('tag') ?? '';
  if (!isTag(tag)) throw notInTrash();
  return tag;
}

/** @throws manifest-unknown */
function digestIn(c: RequestContext) {
  const digest = c.req.param('digest') ?? '';
  if (!isDigest(digest)) throw notInTrash();
  return digest;
}

/** Where names lie that the caller may administer: a superset, found by index. */
function reachToAdmin({ statements, bounds }: Authority) {
  const reach = (of: Authority['statements']) => reachOf(patternsOf({ statements: of }, 'admin'));
  return bounds.map(reach).reduce(common, reach(statements));
}

function shownEntry({ deletedAt, restorableUntil, ...entry }: TrashEntry) {
  return { ...entry, deletedAt: timeOf(deletedAt), restorableUntil: timeOf(restorableUntil) };
}

function shownRepository({ entry, name, deletedAt, deletedBy, restorableUntil }: DeletedRepository) {
  const times = { deletedAt: timeOf(deletedAt), restorableUntil: timeOf(restorableUntil) };
  return { entry: String(entry), name, deletedBy, ...times };
}

/** @throws manifest-unknown where it is not in the trash, parameter-invalid where the registry is set to delete nothing */
async function answerPurged(
  c: RequestContext,
  entry: { repositoryId: number; kind: 'tag' | 'manifest' | 'repository'; name: string } | null,
  name: string,
): Promise<Response> {
  requireDeletion(c.env);
  if (!entry || !(await finishing(c, purgeEntry(c.env, entry, actorOf(c))))) throw notInTrash();
  return answerGone(name);
}

function answerGone(purged: string): Response {
  const note = 'it cannot be restored any more; its bytes go with the next pass of the collector';
  return answer({ purged, note }, { status: 202 });
}
