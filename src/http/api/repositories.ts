/** Repositories: make, describe, find, change and delete them. */
import { Hono } from 'hono';
import * as z from 'zod';
import type { Authority } from '../../auth/authority.ts';
import { parseName } from '../../auth/names.ts';
import { firstPolicy, getPolicy, isPublic, keepPolicy, setVisibility } from '../../auth/policies.ts';
import { allows } from '../../auth/policy.ts';
import type { RepositoryName } from '../../oci/name.ts';
import {
  changeRepository,
  describeRepositories,
  describeRepository,
  makeRepository,
  type RepositorySummary,
} from '../../registry/repositories/pages.ts';
import { deleteRepository } from '../../registry/trash/repositories.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { endSubscriptions } from '../../webhooks/subscriptions.ts';
import { authorityOf } from '../authenticate.ts';
import { type AppEnv, actorOf, type RequestContext } from '../context.ts';
import { visibleRepositories } from '../visible.ts';
import { asksFor, requireRight } from './guard.ts';
import {
  answer,
  answerItems,
  answerNothing,
  expectedVersion,
  operation,
  PAGE_DEFAULT,
  PAGE_QUERY,
  pageSchema,
} from './operation.ts';
import { timeOf } from './parts.ts';

const GROUP = 'Repositories';

/** Docker Hub's length of a short description. */
const DESCRIPTION_MAX = 100;
const OVERVIEW_MAX = 100_000;

const visibility = z
  .enum(['private', 'public'])
  .describe('Of a public one everybody may pull. It is a statement of its policy, and nothing else.');

const changeSchema = z.strictObject({
  visibility: z.optional(visibility),
  description: z.optional(z.string().max(DESCRIPTION_MAX)),
  overview: z.optional(z.string().max(OVERVIEW_MAX)).describe('Markdown'),
});

const summarySchema = z.strictObject({
  name: z.string(),
  visibility,
  description: z.string(),
  createdAt: z.iso.datetime(),
});
const repositorySchema = summarySchema.extend({ overview: z.string() });

const list = z.strictObject({
  ...PAGE_QUERY,
  search: z.optional(z.string().max(255)).describe('Part of the name or of the description'),
  namespace: z.optional(z.string().max(64)).describe('Of this organization or user only'),
});

const removal = z.strictObject({
  force: z.optional(z.enum(['true', 'false'])).describe('`true`: with all its images'),
});

export const repositories = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories',
    operation({
      group: GROUP,
      summary: 'The repositories that you may pull',
      description:
        'Without credentials: those that are public. A page may be short or empty before the end, which is where `next` is null.',
      query: list,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(summarySchema) } },
    }),
    async (c) => {
      const { n = PAGE_DEFAULT, last = '', search, namespace } = c.var.query;
      const authority = await authorityOf(c, c.var.caller.proof, []);
      const filter = {
        // As SQLite's lower() does it, which the names and descriptions are compared by: ASCII alone.
        search: search?.replaceAll(/[A-Z]+/g, (text) => text.toLowerCase()),
        namespace: namespace && parseName(namespace),
      };
      const { items, next } = await visibleRepositories(c, authority, { after: last, limit: n }, filter);
      const pages = await describeRepositories(
        c.env,
        items.map(({ name }) => name),
      );
      const open = new Set(items.filter(({ isPublic: isOpen }) => isOpen).map(({ name }) => name));
      const shown = pages.map((page) => summaryOf(page, open.has(page.name)));
      return answerItems(shown, next, ({ name }) => name);
    },
  )
  .get(
    '/repositories/:name{.+}',
    asksFor('pull'),
    operation({
      group: GROUP,
      summary: 'A repository',
      answers: { 200: { description: 'What is said of it, and its ETag', schema: repositorySchema } },
    }),
    async (c) => answerRepository(c, c.var.repository, 200),
  )
  .put(
    '/repositories/:name{.+}',
    asksFor('create'),
    operation({
      group: GROUP,
      summary: 'Make a repository, or set what is said of one',
      description:
        'Private unless said otherwise. Whoever may create but not administer it makes it private and without a description. Of one that is there, which takes the right to administer it, what is left out stays.',
      conditional: true,
      body: changeSchema,
      answers: {
        200: { description: 'It was there, and is as described now', schema: repositorySchema },
        201: { description: 'Made', schema: repositorySchema },
      },
    }),
    async (c) => {
      const { repository, authority, body } = c.var;
      const ifVersion = expectedVersion(c);
      if (ifVersion === null || ifVersion === 0) {
        const maker = { by: actorOf(c), mayAdminister: allows(authority, 'admin', repository) };
        const also = () => firstPolicy(c.env, subjectOf(repository), body.visibility ?? 'private', maker);
        if (await makeRepository(c.env, repository, body, { ...maker, also })) return answerRepository(c, repository, 201);
        if (ifVersion === 0) throw new Refusal('version-mismatch', { message: 'it is there already' });
      }
      requireTaken(authority, c, repository);
      // RFC 9110, 13.1.1: what is not there has no version.
      if (ifVersion !== null && !(await describeRepository(c.env, repository))) throw new Refusal('version-mismatch');
      return changed(c, repository, body, ifVersion);
    },
  )
  .patch(
    '/repositories/:name{.+}',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'Change what is said of a repository, or who sees it',
      conditional: true,
      body: changeSchema,
      answers: { 200: { description: 'As it is now, and its new ETag', schema: repositorySchema } },
    }),
    async (c) => changed(c, c.var.repository, c.var.body, expectedVersion(c)),
  )
  .delete(
    '/repositories/:name{.+}',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'Delete a repository',
      description:
        'Refused while it has images, unless `force=true`, and while some of its tags are immutable. It goes into the trash, from which it can be restored for a while with all it had (`GET /trash`), but for its webhooks: they end for good, and this is the last they hear.',
      conditional: true,
      query: removal,
      answers: { 204: { description: 'Deleted' } },
    }),
    async (c) => {
      const { repository, query } = c.var;
      await deleteRepository(c.env, repository, {
        evenIfNotEmpty: query.force === 'true',
        ifVersion: expectedVersion(c),
        by: actorOf(c),
        also: (id) => [...keepPolicy(c.env, subjectOf(repository), id), endSubscriptions(c.env, subjectOf(repository))],
      });
      return answerNothing();
    },
  );

function subjectOf(repository: RepositoryName): string {
  return `repository:${repository}`;
}

/** Somebody who may create here learns that the name is taken; more only if they may administer it. */
function requireTaken(authority: Authority, c: RequestContext, repository: RepositoryName): void {
  if (!allows(authority, 'pull', repository)) throw new Refusal('name-taken');
  requireRight(c, authority, 'admin', repository);
}

async function changed(
  c: RequestContext,
  repository: RepositoryName,
  { visibility: wanted, ...change }: z.output<typeof changeSchema>,
  ifVersion: number | null,
): Promise<Response> {
  const by = actorOf(c);
  const also = wanted ? await setVisibility(c.env, subjectOf(repository), wanted, by) : [];
  await changeRepository(c.env, repository, change, { ifVersion, by, also, visibility: wanted });
  return answerRepository(c, repository, 200);
}

async function answerRepository(c: RequestContext, repository: RepositoryName, status: number): Promise<Response> {
  const page = await describeRepository(c.env, repository);
  if (!page) throw new Refusal('repository-unknown');
  const { statements } = await getPolicy(c.env, subjectOf(repository));
  const body = { ...summaryOf(page, isPublic(statements)), overview: page.overview };
  return answer(body, { status, version: page.version });
}

function summaryOf({ name, description, createdAt }: RepositorySummary, isOpen: boolean) {
  return {
    name,
    visibility: isOpen ? 'public' : 'private',
    description,
    createdAt: timeOf(createdAt),
  };
}
