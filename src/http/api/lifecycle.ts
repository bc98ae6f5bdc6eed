/** The rules that a repository is tidied up by: saved, previewed, carried out. */
import { Hono } from 'hono';
import type { Authority } from '../../auth/authority.ts';
import { allows } from '../../auth/policy.ts';
import { settings } from '../../env.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { bytesOnlyOf, WHOLE_MAX } from '../../registry/lifecycle/candidates.ts';
import { planPage } from '../../registry/lifecycle/large.ts';
import { type LifecyclePolicy, PATTERNS_MAX, RANGES_MAX } from '../../registry/lifecycle/policy.ts';
import { planLifecycle, runLifecycle } from '../../registry/lifecycle/run.ts';
import { deleteLifecycle, getLifecycle, saveLifecycle } from '../../registry/lifecycle/saved.ts';
import { MANIFESTS_MAX, TAGS_MAX } from '../../registry/lifecycle/slices.ts';
import { type AppEnv, actorOf, type RequestContext } from '../context.ts';
import { answer, answerNothing } from './answers.ts';
import { asksFor } from './guard.ts';
import {
  deletedSchema,
  lifecycleSchema,
  placeOf,
  planSchema,
  policySchema,
  previewBody,
  shownList,
  shownReport,
  shownWaiting,
} from './lifecycle-schemas.ts';
import { operation } from './operation.ts';
import { expectedVersion } from './params.ts';

const GROUP = 'Lifecycle';

export const lifecycle = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/lifecycle',
    asksFor('pull'),
    operation({
      group: GROUP,
      summary: "A repository's lifecycle policy",
      description: 'It is carried out once a day. There is nothing here where none is saved.',
      answers: { 200: { description: 'The policy, its ETag, and what its last run did', schema: lifecycleSchema } },
    }),
    async (c) => answerLifecycle(c),
  )
  .put(
    '/repositories/:name{.+}/-/lifecycle',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: "Save a repository's lifecycle policy",
      description: `In ECR's grammar, without storage classes. All rules look at all there is; the first whose requirement on tags
is met decides, and what it lets stay is safe from those after it. They decide about tags and untagged manifests, not about images:
a tag that is kept keeps only itself, and a manifest goes with the last tag that names it. Tags that belong to another manifest by
their name (\`sha256-<hex>\`, with \`.sig\`, \`.att\` or \`.sbom\` or without) are no images: they are neither selected nor counted, stay with it
and go with it. Tags that are immutable stay unless a rule
says \`includeImmutable\`. Rules that \`keep\` win over all others. What goes can be restored from the trash. All rules together may
have up to ${PATTERNS_MAX} patterns and prefixes of tags, and ${RANGES_MAX} ranges of versions.`,
      conditional: true,
      body: policySchema,
      answers: { 200: { description: 'Saved; the new ETag', schema: lifecycleSchema } },
    }),
    async (c) => {
      await saveLifecycle(c.env, c.var.repository, c.var.body, { ifVersion: expectedVersion(c), by: actorOf(c) });
      return answerLifecycle(c);
    },
  )
  .delete(
    '/repositories/:name{.+}/-/lifecycle',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: "Delete a repository's lifecycle policy",
      description: 'What it took stays in the trash for its time.',
      conditional: true,
      answers: { 204: { description: 'Deleted' } },
    }),
    async (c) => {
      await deleteLifecycle(c.env, c.var.repository, { ifVersion: expectedVersion(c), by: actorOf(c) });
      return answerNothing();
    },
  )
  .post(
    '/repositories/:name{.+}/-/lifecycle/preview',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'What a lifecycle policy would delete, and why',
      description: `Nothing is deleted. The counts are of all there is, the list is cut after 1,000. A repository with more than
${WHOLE_MAX} tags or manifests is listed page by page: counts and list are those of the page, \`next\` is what to send as \`after\` for
the next one, and \`bytes\` and the ETag are missing. A page may be empty before the last one, which has no \`next\`. Right after a push the list may be short: \`waiting\`,
\`waitingUntil\` and \`note\` say what is left alone for now.`,
      body: previewBody,
      answers: { 200: { description: 'The plan; its ETag is the same for the same list', schema: planSchema } },
    }),
    async (c) => {
      const { repository, body } = c.var;
      const whole = body.after === undefined ? await planLifecycle(c.env, repository, body.policy) : null;
      if (!whole) return answerPage(c, body.policy, body.after);
      const { plan, etag } = whole;
      const blobs = await bytesOnlyOf(c.env, repository, plan.levels.flat());
      const bytes = plan.manifests.reduce((sum, { size }) => sum + size, blobs);
      const response = answer({ ...shownList(plan), bytes, ...shownWaiting(plan, settings(c.env).leaseSeconds) });
      response.headers.set('etag', etag);
      return response;
    },
  )
  .post(
    '/repositories/:name{.+}/-/lifecycle/run',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'Carry the saved lifecycle policy out now',
      description: `A large plan is carried out in parts: run it again while something remains. With \`If-Match\` and the ETag of a
preview only if it would delete just what that one listed, and then all of it or nothing, whatever is pushed meanwhile. Where it takes
several parts, as it does for more than ${TAGS_MAX} tags or ${MANIFESTS_MAX} manifests and for what different rules took, that holds
for each part: one that has changed ends the run with 412, and the message says what was deleted before it. A repository with more than
${WHOLE_MAX} tags or manifests is gone through page by page, a page for each request and for most runs of the schedule, and not on
condition: \`unfinished\` says that there are more.`,
      conditional: true,
      answers: { 200: { description: 'What was deleted', schema: deletedSchema } },
    }),
    async (c) => {
      const { repository } = c.var;
      const options = { by: actorOf(c), ifPlan: expectedPlan(c) };
      const { remaining, unfinished, ...deleted } = await runLifecycle(c.env, repository, options);
      return answer({ ...shownList(deleted), remaining, ...(unfinished ? { unfinished } : {}) });
    },
  );

type Asking = RequestContext & { var: { repository: RepositoryName; authority: Authority } };

/** @param after as the page before answered it, `undefined` for the first one */
async function answerPage(c: Asking, tried: LifecyclePolicy | undefined, after: string | undefined): Promise<Response> {
  const { repository } = c.var;
  const policy = tried ?? (await getLifecycle(c.env, repository)).policy;
  const { plan, next: place } = await planPage(c.env, repository, policy, placeOf(after));
  const next = place === null ? {} : { next: JSON.stringify(place) };
  return answer({ ...shownList(plan), ...shownWaiting(plan, settings(c.env).leaseSeconds), ...next });
}

async function answerLifecycle(c: Asking): Promise<Response> {
  const { repository, authority } = c.var;
  const { policy, report, version } = await getLifecycle(c.env, repository);
  const lastReport = report && shownReport(report, allows(authority, 'push', repository));
  return answer({ policy, lastRanAt: lastReport?.at ?? null, lastReport }, { version });
}

/** RFC 9110, section 13.1.1: `*`, or a list of which one has to be the plan's; `null` without a condition. */
function expectedPlan(c: RequestContext): ((etag: string) => boolean) | null {
  const header = c.req.header('if-match');
  if (header === undefined || header.trim() === '*') return null;
  const etags = header.split(',').map((etag) => etag.trim());
  return (etag) => etags.includes(etag);
}
