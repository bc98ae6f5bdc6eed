/**
 * Verifies tokens of outside issuers, such as those of CI jobs, and computes the statements that a trust rule gives to them.
 * The verification follows RFC 8725: the registry chooses all its parameters, and the token chooses none. This module does no
 * I/O, except that the issuer's keys are fetched.
 *
 * A job that is started by a push runs the code of its git ref, which only people with write access can change. A job that is
 * started by a pull request, a comment or another pipeline may state the default branch and still run code of an outsider. What
 * started a job is called its source. There is a list, for each platform, of the sources that only people with write access can
 * use (`OWN`). Every other source counts as foreign, including sources that a platform adds later.
 */
import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { CiJob } from '../credential.ts';
import type { Statement } from '../statement.ts';
import { allHold, type Claims, type Conditions, claimPatterns, claimsOf, namesIn, unmet, valueIn } from './claims.ts';
import { isIssuer, keysOf, type Outside } from './issuers.ts';
import { namesInPattern, type RefKind, refKindOf, substitute, widen } from './templates.ts';

/**
 * A statement of a trust rule. `tags` and `repositories` may contain placeholders: `{ref_name}`, `{pull_request}` or the name
 * of any claim, in braces.
 */
export interface RuleStatement extends Statement {
  /** Further conditions on the token. The statement applies only if they are met. */
  when?: Conditions;
}

export interface TrustRule {
  /** `ci:<organization>/<name>`, or `ci:<name>` for a rule of the whole registry. */
  subject: string;
  issuer: string;
  audience: string;
  /** Conditions on the token. All of them must be met. */
  claims: Conditions;
  statements: RuleStatement[];
  /** The number of seconds for which a job's login is valid. */
  lifetime: number;
}

/** A job as its token describes it, without the time of the login. */
export type Told = Pick<CiJob, 'claims' | 'omitted' | 'audiences'>;

/** A token whose signature is valid. */
interface Genuine {
  told: Told;
  /** Why the token is refused, as text for the holder of the token. `null` if it is valid. */
  refused: string | null;
}

/**
 * The accepted signature algorithms. All are asymmetric, so that no public key can be accepted as a shared secret (RFC 8725,
 * section 2.1).
 */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

const TOKEN_MAX_LENGTH = 16 * 1024;
/**
 * The maximum number of characters of one claim, and of all claims together, that are copied into tokens of the registry.
 * Clients send these tokens in headers, so they must be short. `NAMES_MAX_LENGTH` limits the names of omitted claims, and the
 * audiences, in the same way.
 */
const CLAIM_MAX_LENGTH = 1024;
const CLAIMS_MAX_LENGTH = 4096;
const NAMES_MAX_LENGTH = 1024;

/** The maximum lifetime of an outside token, and the tolerated difference between clocks, in seconds. */
const MAX_LIFETIME = 24 * 60 * 60;
const CLOCK_TOLERANCE = 60;

/** Reads the claims of a token without verifying it. @returns `null` if it cannot be a token of that issuer */
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
 * Verifies a token. @returns `null` if the signature is wrong, or if the form of the token is not supported @throws
 * issuer-unreachable
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

/** Verifies everything except the lifetime and the audience. Each rule checks the audience. */
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
    // jose checks claims only after the signature, so for these errors the signature is right. Any other error means that jose
    // refuses the token, or that the runtime cannot import the key.
    if (error instanceof errors.JWTExpired)
      return { payload: error.payload, refused: refusalOfTimes(error.payload, runtime.now) };
    if (!(error instanceof errors.JWTClaimValidationFailed) || error.payload.iss !== issuer) return null;
    const why = error.reason === 'missing' ? 'is missing' : 'does not count yet, or has no valid value';
    return { payload: error.payload, refused: `its claim "${error.claim}" ${why}` };
  }
}

/**
 * Checks the times of a token. jose does not check a maximum lifetime, and its clock tolerance would prolong a token. Here the
 * tolerance only allows that the issuer's clock is ahead.
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
 * Selects the claims to store: as many as fit, the shortest first. Which claims the rules read is not known yet, because rules
 * are selected at each use of the login.
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

/**
 * Returns the claims of a token because of which the rule does not apply, or an empty list if it applies. The result does not
 * reveal what the rule requires.
 */
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

/** Returns the statements of a rule for a token with these claims, or an empty list if the rule does not apply. */
export function statementsOf(rule: TrustRule, claims: Claims): Statement[] {
  if (!allHold(rule.claims, claims) || claims.iss !== rule.issuer) return [];
  return rule.statements.flatMap((statement) => {
    const conditions = [rule.claims, statement.when ?? {}];
    if (!allHold(statement.when ?? {}, claims)) return [];
    // For a job with a foreign source, an allow statement applies only if the conditions admit that source. A deny statement
    // applies to every job.
    if (statement.effect === 'allow' && !admitsSource(conditions, claims)) return [];
    return resolve(statement, claims, refKindOf(conditions));
  });
}

/**
 * Replaces the placeholders of a statement. If a claim is absent, an allow statement loses the pattern, and a deny statement
 * gets a wider pattern that covers every value.
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
 * By claim: the repository's own sources. Only somebody with write access can trigger them, and they run the code of their ref.
 *
 * - `event_name`: GitHub Docs, "Events that trigger workflows"; Forgejo and Gitea Actions use the same names. Known foreign
 *   sources: every `pull_request*`; `workflow_run`, `issue_comment`, `issues`, `discussion*`, `fork`, `watch`, `check_*` and
 *   `status`, all of which run with the ref of the default branch; `deployment*`, whose ref may be empty.
 * - `pipeline_source`: GitLab Docs, "CI_PIPELINE_SOURCE predefined variable". Known foreign sources: `merge_request_event`,
 *   `external_pull_request_event`, `external`, `chat`; and `parent_pipeline` and `pipeline`, which are downstream pipelines
 *   that do not say whether a merge request started the upstream pipeline.
 * - `build_source`: Buildkite Docs, "buildkite-agent oidc". Known foreign source: `trigger_job`, which comes from another
 *   pipeline. Buildkite does not build pull requests from forks unless somebody turns that on.
 */
const OWN: Record<string, readonly string[]> = {
  event_name: ['push', 'create', 'release', 'schedule', 'workflow_dispatch', 'repository_dispatch', 'merge_group'],
  pipeline_source: ['push', 'web', 'webide', 'schedule', 'api', 'trigger'],
  build_source: ['webhook', 'ui', 'api', 'schedule'],
};

/** The values of `ref_type` that are not foreign. Semaphore and other platforms mark a pull request by the type of its ref. */
const OWN_REF_TYPES = ['branch', 'tag'];

/** The value for a source claim that cannot be read. It is in no list of own sources, so the source counts as foreign. */
const UNREADABLE = '?';

/**
 * Returns the source claims that the token contains but `claims` lacks, because they are no strings or are too long. Without
 * them, the job would look like a job of an issuer that sends no source claims.
 */
function unreadableSources(payload: Record<string, unknown>, claims: Claims): Claims {
  const names = [...Object.keys(OWN), 'ref_type'].filter(
    (name) => (payload[name] ?? null) !== null && !Object.hasOwn(claims, name),
  );
  return Object.fromEntries(names.map((name) => [name, UNREADABLE]));
}

/** The sources of pull requests. Their ref may be protected, but they run the code of an outsider. */
const PULL_REQUEST = /^pull_request|^(?:merge_request|external_pull_request)_event$|^pull-request$/;

/**
 * The name of the claim that says whether a ref is protected. A condition that requires `true` admits foreign sources without
 * naming them, because the platform lets only trusted people change a protected ref.
 */
const PROTECTED = 'ref_protected';

/**
 * Returns true if the conditions admit the source of a job with these claims.
 * @param conditions the conditions of the rule and those of the statement. The job meets all of them
 */
function admitsSource(conditions: readonly Conditions[], claims: Claims): boolean {
  const unnamed = foreignSources(claims).filter((name) => !conditions.some((some) => namesSource(some, name)));
  if (unnamed.some((name) => PULL_REQUEST.test(valueIn(claims, name) ?? ''))) return false;
  return unnamed.length === 0 || conditions.some(asksForProtectedRef);
}

/** Returns the names of the claims that say that the job's source is foreign. */
function foreignSources(claims: Claims): string[] {
  const sources = Object.keys(OWN).filter((name) => {
    const source = valueIn(claims, name);
    return source !== undefined && !OWN[name]?.includes(source);
  });
  const kind = valueIn(claims, 'ref_type');
  return kind === undefined || OWN_REF_TYPES.includes(kind) ? sources : [...sources, 'ref_type'];
}

/** Returns true if the conditions restrict this claim. A pattern of only `*` restricts nothing. */
function namesSource(conditions: Conditions, name: string): boolean {
  const patterns = claimPatterns(conditions, name);
  return patterns.length > 0 && patterns.every((pattern) => /[^*]/.test(pattern));
}

function asksForProtectedRef(conditions: Conditions): boolean {
  const patterns = claimPatterns(conditions, PROTECTED);
  return patterns.length > 0 && patterns.every((pattern) => pattern === 'true');
}
