/**
 * Tokens of outside issuers, such as those of CI jobs, and the statements that a trust rule gives them. Tokens are verified as
 * RFC 8725 advises: the registry fixes every parameter, and the token none. Pure, except for fetching the issuer's keys.
 *
 * A job of a push runs the code of its ref, which only people with write access can change. A job of a pull request, a comment
 * or another pipeline may name the default branch and still run what an outsider wants. So there is a list of the repository's
 * own sources for each platform; every other source is foreign, including new ones.
 */
import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { CiJob } from '../credential.ts';
import type { Statement } from '../statement.ts';
import { allHold, type Claims, type Conditions, claimPatterns, claimsOf, namesIn, unmet, valueIn } from './claims.ts';
import { isIssuer, keysOf, type Outside } from './issuers.ts';
import { namesInPattern, type RefKind, refKindOf, substitute, widen } from './templates.ts';

/** `tags` and `repositories` may hold placeholders: `{ref_name}`, `{pull_request}` or the name of any claim. */
export interface RuleStatement extends Statement {
  /** Further conditions on the token under which the statement applies. */
  when?: Conditions;
}

export interface TrustRule {
  /** `ci:<organization>/<name>`, or `ci:<name>` of the registry as a whole. */
  subject: string;
  issuer: string;
  audience: string;
  /** Conditions, all of which must be fulfilled. */
  claims: Conditions;
  statements: RuleStatement[];
  /** Seconds that a job's login lasts. */
  lifetime: number;
}

/** A job as its token describes it, without the time of its login. */
export type Told = Pick<CiJob, 'claims' | 'omitted' | 'audiences'>;

/** A token with a valid signature. */
interface Genuine {
  told: Told;
  /** Why the token is refused, in words for its holder; `null`: it is valid. */
  refused: string | null;
}

/** Asymmetric algorithms only: a public key must not pass for a shared secret (RFC 8725, section 2.1). */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

const TOKEN_MAX_LENGTH = 16 * 1024;
/** Characters of one claim, and of all claims, that are copied into our own tokens, which are sent in headers. */
const CLAIM_MAX_LENGTH = 1024;
const CLAIMS_MAX_LENGTH = 4096;
const NAMES_MAX_LENGTH = 1024;

/** Seconds. */
const MAX_LIFETIME = 24 * 60 * 60;
const CLOCK_TOLERANCE = 60;

/** Reads a token without verifying it. `null` if it cannot be a token of that issuer. */
export function toldBy(token: string, issuer: string): Told | null {
  if (token.length > TOKEN_MAX_LENGTH) return null;
  try {
    const payload = decodeJwt(token);
    return payload.iss === issuer ? toldIn(payload) : null;
  } catch {
    return null;
  }
}

/**
 * Verifies a token.
 * @returns `null` if the signature is wrong, or the token has an unsupported form
 * @throws issuer-unreachable
 */
export async function verifyToken(token: string, issuer: string, runtime: Outside): Promise<Genuine | null> {
  if (token.length > TOKEN_MAX_LENGTH || !isIssuer(issuer, runtime.insecureIssuers)) return null;
  const verified = await verifiedPayload(token, issuer, runtime);
  if (!verified) return null;
  const told = toldIn(verified.payload);
  if (!told) return null;
  return {
    told,
    refused: verified.refused ?? refusalOfTimes(verified.payload, runtime.now) ?? refusalOfShape(verified.payload, told),
  };
}

/** Verifies everything but the audience, which each rule checks. */
async function verifiedPayload(
  token: string,
  issuer: string,
  runtime: Outside,
): Promise<{ payload: JWTPayload; refused: string | null } | null> {
  try {
    const { payload } = await jwtVerify(token, keysOf(issuer, runtime), {
      algorithms: ALGORITHMS,
      issuer,
      requiredClaims: ['exp', 'iat', 'sub', 'aud'],
      currentDate: new Date(runtime.now),
      clockTolerance: CLOCK_TOLERANCE,
    });
    return { payload, refused: null };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    // jose checks claims only after the signature. Any other error is about the token, which jose refuses, or about a key that
    // the runtime cannot import.
    if (error instanceof errors.JWTExpired)
      return { payload: error.payload, refused: refusalOfTimes(error.payload, runtime.now) };
    if (!(error instanceof errors.JWTClaimValidationFailed) || error.payload.iss !== issuer) return null;
    const why = error.reason === 'missing' ? 'is missing' : 'does not count yet, or has no valid value';
    return { payload: error.payload, refused: `its claim "${error.claim}" ${why}` };
  }
}

/**
 * jose has no maximum lifetime, and its tolerance would prolong a token. This tolerance is for an issuer whose clock is ahead.
 */
function refusalOfTimes({ iat = Number.NaN, exp = Number.NaN }: JWTPayload, now: number): string | null {
  const seconds = now / 1000;
  if (exp <= seconds) return `it has expired at ${timeOf(exp)}: get another one from your CI and log in with that`;
  if (!(iat <= seconds + CLOCK_TOLERANCE)) return 'it says that it was made in the future ("iat")';
  return exp - iat <= MAX_LIFETIME ? null : 'it lives for more than a day ("exp"): a CI token lives for minutes';
}

function timeOf(seconds: number): string {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? 'no time' : time.toISOString();
}

function refusalOfShape({ sub }: JWTPayload, { claims }: Told): string | null {
  if (typeof sub !== 'string' || sub === '') return 'its claim "sub" is no text';
  return Object.hasOwn(claims, 'sub') ? null : `its claim "sub" has more than ${CLAIM_MAX_LENGTH} characters`;
}

/**
 * Selects the claims to keep: the shortest ones that fit. Rules are chosen at each use, so it is not known yet which they read.
 */
function toldIn(payload: JWTPayload): Told | null {
  const all = Object.entries(claimsOf(payload)).sort(([, a], [, b]) => a.length - b.length);
  const kept: [string, string][] = [];
  let length = 0;
  for (const [name, value] of all) {
    length += name.length + value.length;
    if (value.length <= CLAIM_MAX_LENGTH && length <= CLAIMS_MAX_LENGTH) kept.push([name, value]);
  }
  const omitted = all.slice(kept.length).map(([name]) => name);
  const audiences = [payload.aud ?? []].flat().filter((one) => typeof one === 'string');
  if (JSON.stringify([omitted, audiences]).length > NAMES_MAX_LENGTH) return null;
  const claims = Object.fromEntries(kept);
  return { claims: { ...claims, ...unreadableSources(payload, claims) }, omitted, audiences };
}

function namesInRule({ claims, statements }: TrustRule): string[] {
  const inStatement = ({ when = {}, repositories, tags = [] }: RuleStatement): string[] => [
    ...namesIn(when),
    ...[...repositories, ...tags].flatMap(namesInPattern),
  ];
  return [...namesIn(claims), ...statements.flatMap(inStatement)];
}

/** The claims of a token because of which a rule does not apply; none if it does. Does not tell what the rule requires. */
export function mismatches(rule: TrustRule, { claims, omitted, audiences }: Told): { claim: string; is: string | null }[] {
  const is = (claim: string) => (Object.hasOwn(claims, claim) ? (claims[claim] ?? null) : null);
  const looked = namesInRule(rule);
  return [
    ...(audiences.includes(rule.audience) ? [] : [{ claim: 'aud', is: audiences.join(', ') || null }]),
    ...(claims.iss === rule.issuer ? [] : [{ claim: 'iss', is: is('iss') }]),
    ...unmet(rule.claims, claims).map((claim) => ({ claim, is: is(claim) })),
    ...omitted.filter((claim) => looked.includes(claim)).map((claim) => ({ claim, is: 'a text that is too long' })),
  ];
}

/** The statements of a rule for a token with these claims; none if the rule does not apply. */
export function statementsOf(rule: TrustRule, claims: Claims): Statement[] {
  if (!allHold(rule.claims, claims) || claims.iss !== rule.issuer) return [];
  return rule.statements.flatMap((statement) => {
    const conditions = [rule.claims, statement.when ?? {}];
    if (!allHold(statement.when ?? {}, claims)) return [];
    // Allow statements must name a foreign source. Deny statements apply to every source.
    if (statement.effect === 'allow' && !admitsSource(conditions, claims)) return [];
    return resolve(statement, claims, refKindOf(conditions));
  });
}

/**
 * Fills in placeholders. A pattern whose claim is absent is left out of an allow statement, and widened in a deny statement.
 */
function resolve({ effect, actions, repositories, tags }: RuleStatement, claims: Claims, refs: RefKind): Statement[] {
  const known = repositories.map((pattern) => substitute(pattern, 'repository', claims, refs));
  const knownTags = tags?.map((pattern) => substitute(pattern, 'tag', claims, refs));
  if (effect === 'deny') {
    const wide = repositories.map((pattern, n) => known[n] ?? widen(pattern));
    const narrowed = knownTags?.every((tag) => tag !== null) ? { tags: knownTags } : {};
    return [{ effect, actions, repositories: wide, ...narrowed }];
  }
  const some = known.filter((name) => name !== null);
  const someTags = knownTags?.filter((tag) => tag !== null);
  if (some.length === 0 || someTags?.length === 0) return [];
  return [{ effect, actions, repositories: some, ...(someTags ? { tags: someTags } : {}) }];
}

/**
 * By claim: the sources that only somebody with write access can trigger, and whose ref is the code that they run.
 *
 * - `event_name`: GitHub Docs, "Events that trigger workflows"; Forgejo and Gitea Actions use the same names. Known foreign
 *   sources: every `pull_request*`; `workflow_run`, `issue_comment`, `issues`, `discussion*`, `fork`, `watch`, `check_*`,
 *   `status`, all of which run with the ref of the default branch; `deployment*`, whose ref may be empty.
 * - `pipeline_source`: GitLab Docs, "CI_PIPELINE_SOURCE predefined variable". Known foreign sources: `merge_request_event`,
 *   `external_pull_request_event`, `external`, `chat`, and the downstream pipelines `parent_pipeline` and `pipeline`, which do
 *   not say whether a merge request set off the one above them.
 * - `build_source`: Buildkite Docs, "buildkite-agent oidc". Foreign: `trigger_job`, which comes from another pipeline. Builds
 *   of pull requests from forks are off there unless somebody turns them on.
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
 * Source claims that exist but are missing in `claims`, because they are no text or too long. Without them, the job would pass
 * for one of an issuer that has no source claims.
 */
function unreadableSources(payload: Record<string, unknown>, claims: Claims): Claims {
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
function admitsSource(conditions: readonly Conditions[], claims: Claims): boolean {
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
  const patterns = claimPatterns(conditions, name);
  return patterns.length > 0 && patterns.every((pattern) => /[^*]/.test(pattern));
}

function asksForProtectedRef(conditions: Conditions): boolean {
  const patterns = claimPatterns(conditions, PROTECTED);
  return patterns.length > 0 && patterns.every((pattern) => pattern === 'true');
}
