/** What the reference says about the routes in `../lifecycle.ts`. */
import { lifecycleDeletions, lifecyclePlan, savedLifecycle } from '../../../contract/answers/lifecycle.ts';
import {
  RULE_PATTERNS_MAX,
  SLICE_MANIFESTS_MAX,
  SLICE_TAGS_MAX,
  VERSION_RANGES_MAX,
  WHOLE_MAX,
} from '../../../vocabulary/lifecycle.ts';
import type { Reference } from './described.ts';

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

export const lifecycle: Reference = {
  'GET /repositories/:name{.+}/-/lifecycle': {
    group: GROUP,
    summary: "Read a repository's lifecycle policy",
    description: 'The policy runs once a day. Without a saved policy, the answer is 404.',
    answers: { 200: { description: 'The policy, its ETag, and what its last run did', schema: savedLifecycle } },
  },
  'PUT /repositories/:name{.+}/-/lifecycle': {
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
    example: { body: EXAMPLE },
    answers: { 200: { description: 'The policy as saved, and its new ETag', schema: savedLifecycle } },
  },
  'DELETE /repositories/:name{.+}/-/lifecycle': {
    group: GROUP,
    summary: "Delete a repository's lifecycle policy",
    description: 'What the policy has deleted stays in the trash until its time is up.',
    answers: { 204: { description: 'The policy was deleted' } },
  },
  'POST /repositories/:name{.+}/-/lifecycle/preview': {
    group: GROUP,
    summary: 'Preview what a lifecycle policy would delete, and why',
    description: `Deletes nothing. The counts include everything; the list is cut after 1,000 items. A repository with
more than ${WHOLE_MAX} tags or manifests is previewed page by page: counts and list are those of the page, \`next\` is sent
as \`after\` for the next page, and \`bytes\` and the ETag are absent. A page may be empty before the last one, which has no
\`next\`. Soon after a push the list may be short: \`waiting\`, \`waitingUntil\` and \`note\` say what is left alone for
now.`,
    example: { body: { policy: EXAMPLE } },
    refusals: { 'limit-reached': 'The repository has too many tags and manifests' },
    answers: { 200: { description: 'The plan. Its ETag identifies the list', schema: lifecyclePlan } },
  },
  'POST /repositories/:name{.+}/-/lifecycle/run': {
    group: GROUP,
    summary: 'Run the saved lifecycle policy now',
    description: `A large plan is carried out in parts: run it again while \`remaining\` is not 0.

With \`If-Match\` and the ETag of a preview, it deletes exactly what that preview listed, or nothing. A plan with more than
${SLICE_TAGS_MAX} tags or ${SLICE_MANIFESTS_MAX} manifests, or with items of several rules, takes several steps, and this
holds for each of them: if something of a step has changed, the run ends with 412, and the message says what was deleted
before.

A repository with more than ${WHOLE_MAX} tags or manifests is processed page by page, one page for each request and for most
runs of the schedule. It cannot be run on condition. \`unfinished\` says that there are more pages.`,
    refusals: {
      'limit-reached': 'The repository has too many tags and manifests',
      'deletion-disabled': 'The registry allows no deletions',
    },
    answers: { 200: { description: 'What was deleted', schema: lifecycleDeletions } },
  },
};
