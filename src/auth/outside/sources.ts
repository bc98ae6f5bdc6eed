/**
 * What set a job off. A job of a push runs what its ref holds, and whoever may write there is answerable for it. A job of a pull
 * request, a comment or another pipeline may carry the ref of the default branch and still do what a stranger wants. One list for
 * each platform of the sources that are the repository's own; every other source is foreign, a new one too. Pure.
 */
import { type Claims, type Conditions, patternsOf, valueIn } from './claims.ts';

/**
 * By the claim that tells the source, those that only somebody with write access can set off, and whose ref is what they run.
 *
 * - `event_name`: GitHub Docs, "Events that trigger workflows"; Forgejo and Gitea Actions use the same names. Foreign, and known
 *   for it: every `pull_request*`; `workflow_run`, `issue_comment`, `issues`, `discussion*`, `fork`, `watch`, `check_*`, `status`,
 *   all of which run with the ref of the default branch; `deployment*`, whose ref may be empty.
 * - `pipeline_source`: GitLab Docs, "CI_PIPELINE_SOURCE predefined variable". Foreign, and known for it: `merge_request_event`,
 *   `external_pull_request_event`, `external`, `chat`, and the downstream pipelines `parent_pipeline` and `pipeline`, which do not
 *   say whether a merge request set off the one above them.
 * - `build_source`: Buildkite Docs, "buildkite-agent oidc". Foreign: `trigger_job`, which comes from another pipeline. Builds of
 *   pull requests from forks are off there unless somebody turns them on.
 */
const OWN: Record<string, readonly string[]> = {
  event_name: ['push', 'create', 'release', 'schedule', 'workflow_dispatch', 'repository_dispatch', 'merge_group'],
  pipeline_source: ['push', 'web', 'webide', 'schedule', 'api', 'trigger'],
  build_source: ['webhook', 'ui', 'api', 'schedule'],
};

/** Semaphore and others tell a pull request by the kind of its ref. */
const OWN_REF_TYPES = ['branch', 'tag'];

/** What a claim is taken to say that tells the source and cannot be read: no list has it, so that it is foreign. */
const UNREADABLE = '?';

/**
 * The claims that tell the source, where they are there and `claims` has no text of them: those of another type, or too long.
 * Without them such a job would pass for one of an issuer that has no sources.
 */
export function unreadableSources(payload: Record<string, unknown>, claims: Claims): Claims {
  const names = [...Object.keys(OWN), 'ref_type'].filter(
    (name) => (payload[name] ?? null) !== null && !Object.hasOwn(claims, name),
  );
  return Object.fromEntries(names.map((name) => [name, UNREADABLE]));
}

/** Pull requests by name: their ref may be called protected, and what they run is still a stranger's. */
const PULL_REQUEST = /^pull_request|^(?:merge_request|external_pull_request)_event$|^pull-request$/;

/** What other foreign sources get without their name: a protected ref holds what somebody with that right put there. */
const PROTECTED = 'ref_protected';

/**
 * Whether what these conditions give may go to a job with these claims, as far as its source is concerned.
 * @param conditions those of the rule and those of the statement: all of them hold
 */
export function admitsSource(conditions: readonly Conditions[], claims: Claims): boolean {
  const unnamed = foreignSources(claims).filter((name) => !conditions.some((some) => namesSource(some, name)));
  if (unnamed.some((name) => PULL_REQUEST.test(valueIn(claims, name) ?? ''))) return false;
  return unnamed.length === 0 || conditions.some(asksForProtectedRef);
}

/** The claims by which the job's source is foreign. */
function foreignSources(claims: Claims): string[] {
  const sources = Object.keys(OWN).filter((name) => {
    const source = valueIn(claims, name);
    return source !== undefined && !OWN[name]?.includes(source);
  });
  const kind = valueIn(claims, 'ref_type');
  return kind === undefined || OWN_REF_TYPES.includes(kind) ? sources : [...sources, 'ref_type'];
}

/** A pattern of stars alone names nothing. */
function namesSource(conditions: Conditions, name: string): boolean {
  const patterns = patternsOf(conditions, name);
  return patterns.length > 0 && patterns.every((pattern) => /[^*]/.test(pattern));
}

function asksForProtectedRef(conditions: Conditions): boolean {
  const patterns = patternsOf(conditions, PROTECTED);
  return patterns.length > 0 && patterns.every((pattern) => pattern === 'true');
}
