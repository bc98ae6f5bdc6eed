/** Routes that save, preview and run the lifecycle policy of a repository. */

import type * as z from 'zod';
import {
  deleteLifecycle,
  getLifecycle,
  type Lifecycle,
  type LifecycleItem,
  type LifecycleItems,
  type LifecyclePreview,
  type LifecycleReport,
  previewLifecycle,
  putLifecycle,
  runLifecycle,
} from '../../app/lifecycle.ts';
import {
  lifecycleDeletions,
  type lifecycleItem,
  lifecyclePlan,
  lifecyclePolicy,
  lifecyclePreview,
  type lifecycleReport,
  savedLifecycle,
} from '../../contract/lifecycle.ts';
import { settings } from '../../env.ts';
import {
  RULE_PATTERNS_MAX,
  SLICE_MANIFESTS_MAX,
  SLICE_TAGS_MAX,
  VERSION_RANGES_MAX,
  WHOLE_MAX,
} from '../../vocabulary/lifecycle.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, timeOf, withinAnswer } from './answers.ts';
import { operation } from './operation.ts';
import { expectedPlan, expectedVersion } from './params.ts';

const GROUP = 'Lifecycle';

const EXAMPLE = {
  rules: [
    {
      rulePriority: 1,
      description: 'Keep the newest preview',
      selection: { tagStatus: 'tagged', tagPatternList: ['pr-*'], countType: 'imageCountMoreThan', countNumber: 1 },
      action: { type: 'expire' },
    },
  ],
};

export const lifecycle = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/lifecycle',
    operation({
      group: GROUP,
      summary: "Read a repository's lifecycle policy",
      description: 'The policy runs once a day. Without a saved policy, the answer is 404.',
      answers: { 200: { description: 'The policy, its ETag, and what its last run did', schema: savedLifecycle } },
    }),
    async (c) => answerLifecycle(await getLifecycle(callOf(c), repositoryIn(c))),
  )
  .put(
    '/repositories/:name{.+}/-/lifecycle',
    operation({
      group: GROUP,
      summary: "Save a repository's lifecycle policy",
      description: `The policy has the form of a lifecycle policy of ECR, without storage classes, and with rules that keep.

- Every rule looks at all tags and untagged manifests. The first rule whose tag conditions match decides. What that
rule does not delete is safe from later rules. Rules that \`keep\` win over all others.
- Rules decide about tags and untagged manifests, not about images: a tag that is kept keeps only itself, and a manifest is
deleted with the last tag that names it.
- Tags that belong to another manifest by their name (\`sha256-<hex>\`, with or without \`.sig\`, \`.att\` or \`.sbom\`) are
neither selected nor counted. They are kept and deleted with that manifest.
- Immutable tags stay, unless a rule has \`includeImmutable\`.
- What is deleted can be restored from the trash.

All rules together may have up to ${RULE_PATTERNS_MAX} patterns and prefixes of tags, and ${VERSION_RANGES_MAX} version
ranges.`,
      conditional: true,
      body: lifecyclePolicy,
      example: { body: EXAMPLE },
      answers: { 200: { description: 'The policy as saved, and its new ETag', schema: savedLifecycle } },
    }),
    async (c) => {
      const repository = repositoryIn(c);
      const { body } = c.var;
      return answerLifecycle(await withFieldsIn('body', () => putLifecycle(callOf(c), repository, body, expectedVersion(c))));
    },
  )
  .delete(
    '/repositories/:name{.+}/-/lifecycle',
    operation({
      group: GROUP,
      summary: "Delete a repository's lifecycle policy",
      description: 'What the policy has deleted stays in the trash until its time is up.',
      conditional: true,
      answers: { 204: { description: 'The policy was deleted' } },
    }),
    async (c) => {
      await deleteLifecycle(callOf(c), repositoryIn(c), expectedVersion(c));
      return answerNothing();
    },
  )
  .post(
    '/repositories/:name{.+}/-/lifecycle/preview',
    operation({
      group: GROUP,
      summary: 'Preview what a lifecycle policy would delete, and why',
      description: `Deletes nothing. The counts include everything; the list is cut after 1,000 items. A repository with
more than ${WHOLE_MAX} tags or manifests is previewed page by page: counts and list are those of the page, \`next\` is sent
as \`after\` for the next page, and \`bytes\` and the ETag are absent. A page may be empty before the last one, which has no
\`next\`. Soon after a push the list may be short: \`waiting\`, \`waitingUntil\` and \`note\` say what is left alone for
now.`,
      body: lifecyclePreview,
      example: { body: { policy: EXAMPLE } },
      refusals: { 'limit-reached': 'The repository has too many tags and manifests' },
      answers: { 200: { description: 'The plan. Its ETag identifies the list', schema: lifecyclePlan } },
    }),
    async (c) => {
      const repository = repositoryIn(c);
      const { body } = c.var;
      return answerPreview(c, await withFieldsIn('body', () => previewLifecycle(callOf(c), repository, body)));
    },
  )
  .post(
    '/repositories/:name{.+}/-/lifecycle/run',
    operation({
      group: GROUP,
      summary: 'Run the saved lifecycle policy now',
      description: `A large plan is carried out in parts: run it again while \`remaining\` is not 0.

With \`If-Match\` and the ETag of a preview, it deletes exactly what that preview listed, or nothing. A plan with more than
${SLICE_TAGS_MAX} tags or ${SLICE_MANIFESTS_MAX} manifests, or with items of several rules, takes several steps, and this
holds for each of them: if something of a step has changed, the run ends with 412, and the message says what was deleted
before.

A repository with more than ${WHOLE_MAX} tags or manifests is processed page by page, one page for each request and for most
runs of the schedule. It cannot be run on condition. \`unfinished\` says that there are more pages.`,
      conditional: true,
      refusals: {
        'limit-reached': 'The repository has too many tags and manifests',
        'deletion-disabled': 'The registry allows no deletions',
      },
      answers: { 200: { description: 'What was deleted', schema: lifecycleDeletions } },
    }),
    async (c) => {
      const { remaining, unfinished, ...deleted } = await runLifecycle(callOf(c), repositoryIn(c), expectedPlan(c));
      return answer({ ...shownItems(deleted), remaining, ...(unfinished ? { unfinished } : {}) });
    },
  );

function answerLifecycle({ policy, report, version }: Lifecycle): Response {
  const lastReport = report && shownReport(report);
  return answer({ policy, lastRanAt: lastReport?.at ?? null, lastReport }, { version });
}

function shownReport({ at, by, tags, manifests, remaining, failed }: LifecycleReport): z.output<typeof lifecycleReport> {
  return { at: timeOf(at), by, tags, manifests, remaining, failed };
}

function answerPreview(c: RequestContext, { plan, whole, next }: LifecyclePreview): Response {
  const body = {
    ...shownItems(plan),
    ...(whole && { bytes: whole.bytes }),
    ...shownWaiting(plan, settings(c.env).leaseSeconds),
  };
  const response = answer(next === null ? body : { ...body, next });
  if (whole) response.headers.set('etag', whole.etag);
  return response;
}

/**
 * Returns the number of manifests that are not in the list because leases protect them, and the time at which the last of these
 * leases ends.
 */
function shownWaiting({ waiting }: LifecyclePreview['plan'], leaseSeconds: number) {
  if (waiting.length === 0) return { waiting: 0 };
  const until = timeOf(waiting.reduce((latest, { leasedUntil }) => Math.max(latest, leasedUntil), 0));
  const what = waiting.length === 1 ? '1 more manifest is' : `${waiting.length} more manifests are`;
  const hours = Math.round((leaseSeconds / 3600) * 10) / 10;
  const why = `a manifest that was pushed without a tag, or that a client was told exists, is kept for ${hours} hours`;
  return { waiting: waiting.length, waitingUntil: until, note: `${what} left alone until ${until}: ${why}` };
}

const ITEMS_MAX = 1000;

function shownItems({ tags, attached, manifests }: LifecycleItems) {
  const named = [...tags.slice(0, ITEMS_MAX), ...attached.slice(0, Math.max(0, ITEMS_MAX - tags.length))];
  const items = withinAnswer([
    ...named.map((item) => shownItem(item, item.tag)),
    ...manifests.slice(0, Math.max(0, ITEMS_MAX - named.length)).map((item) => shownItem(item, null)),
  ]);
  return {
    tags: tags.length,
    ...(attached.length > 0 ? { attached: attached.length } : {}),
    manifests: manifests.length,
    items,
    truncated: items.length < tags.length + attached.length + manifests.length,
  };
}

function shownItem({ digest, rule, reason }: LifecycleItem, tag: string | null): z.output<typeof lifecycleItem> {
  return { tag, digest, rule, reason };
}
