/**
 * The source that triggered a CI job. A job of a push runs the code of its ref, which only people with write access can change. A job
 * of a pull request, a comment or another pipeline may name the default branch and still run what an outsider wants. For each platform
 * there is a list of the repository's own sources; every other source is foreign, including new ones. Pure.
 */
import { type Claims, type Conditions, patternsOf, valueIn } from './claims.ts';

/**
 * By claim: the sources that only somebody with write access can trigger, and whose ref is the code that they run.
 *
 * - `event_name`: GitHub Docs, "Events that trigger workflows"; Forgejo and Gitea Actions use the same names. Known foreign
 *   sources: every `pull_request*`; `workflow_run`, `issue_comment`, `issues`, `discussion*`, `fork`, `watch`, `check_*`, `status`,
 *   all of which run with the ref of the default branch; `deployment*`, whose ref may be empty.
 * - `pipeline_source`: GitLab Docs, "CI_PIPELINE_SOURCE predefined variable". Known foreign sources: `merge_request_event`,
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

/** Semaphore and others mark a pull request by the type of its ref. */
const OWN_REF_TYPES = ['branch', 'tag'];

/** The value of a source claim that cannot be read. It is in no list, so the source is foreign. */
const UNREADABLE = '?';

/**
 * Source claims that exist but are missing in `claims`, because they are no text or too long. Without them, the job would pass for one
 * of an issuer that has no source claims.
 */
export function unreadableSources(payload: Record<string, unknown>, claims: Claims): Claims {
  const names = [...Object.keys(OWN), 'ref_type'].filter(
    (name) => (payload[name] ?? null) !== null && !Object.hasOwn(claims, name),
  );
  return Object.fromEntries(names.map((name) => [name, UNREADABLE]));
}

/** Sources of pull requests. Their ref may be protected, but the code that they run is an outsider's. */
const PULL_REQUEST = /^pull_request|^(?:merge_request|external_pull_request)_event$|^pull-request$/;

/** Admits foreign sources without naming them: only somebody with that right can change a protected ref. */
const PROTECTED = 'ref_protected';

/**
 * True if the conditions admit the source of a job with these claims.
 * @param conditions those of the rule and those of the statement, all of which are fulfilled
 */
export function admitsSource(conditions: readonly Conditions[], claims: Claims): boolean {
  const unnamed = foreignSources(claims).filter((name) => !conditions.some((some) => namesSource(some, name)));
  if (unnamed.some((name) => PULL_REQUEST.test(valueIn(claims, name) ?? ''))) return false;
  return unnamed.length === 0 || conditions.some(asksForProtectedRef);
}

/** The claims that say that the job's source is foreign. */
function foreignSources(claims: Claims): string[] {
  const sources = Object.keys(OWN).filter((name) => {
    const source = valueIn(claims, name);
    return source !== undefined && !OWN[name]?.includes(source);
  });
  const kind = valueIn(claims, 'ref_type');
  return kind === undefined || OWN_REF_TYPES.includes(kind) ? sources : [...sources, 'ref_type'];
}

/** True if the conditions name a value of this claim. `*` names none. */
function namesSource(conditions: Conditions, name: string): boolean {
  const patterns = patternsOf(conditions, name);
  return patterns.length > 0 && patterns.every((pattern) => /[^*]/.test(pattern));
}

function asksForProtectedRef(conditions: Conditions): boolean {
  const patterns = patternsOf(conditions, PROTECTED);
  return patterns.length > 0 && patterns.every((pattern) => pattern === 'true');
}
