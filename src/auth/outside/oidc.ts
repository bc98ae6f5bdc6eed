/**
 * Outside identities: a token of another issuer, such as a CI job's, is somebody here if a trust rule says so. Verified as
 * RFC 8725 advises, with everything fixed by us and nothing by the token.
 */
import { type JWTPayload, jwtVerify } from 'jose';
import { RegistryError } from '../../oci/errors.ts';
import type { Statement } from '../statement.ts';
import {
  ALWAYS_READ,
  admitsOrigin,
  allHold,
  type Claims,
  type Conditions,
  claimsOf,
  namesIn,
  namesInPattern,
  pick,
  substitute,
  widen,
} from './claims.ts';
import { isIssuer, keysOf, type Outside } from './issuers.ts';

/** `tags` and `repositories` may hold placeholders: `{ref_name}`, `{pull_request}` or the name of any claim. */
export interface RuleStatement extends Statement {
  /** Conditions on the token, besides the rule's own, under which the statement counts. */
  when?: Conditions;
}

export interface TrustRule {
  /** `ci:<organization>/<name>`, or `ci:<name>` of the registry as a whole. */
  subject: string;
  issuer: string;
  audience: string;
  /** All of them must hold. */
  claims: Conditions;
  statements: RuleStatement[];
}

export interface OutsideIdentity {
  rules: TrustRule[];
  /** Those that the rules look at. */
  claims: Claims;
  /** Seconds since the epoch. */
  until: number;
}

/** Asymmetric ones only: a public key must not pass for a shared secret (RFC 8725, section 2.1). */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

const TOKEN_MAX_LENGTH = 16 * 1024;
/** Of a claim that is copied into our own tokens, which travel in headers. */
const CLAIM_MAX_LENGTH = 1024;

/** Seconds. */
const MAX_LIFETIME = 24 * 60 * 60;
const CLOCK_TOLERANCE = 60;

/**
 * `null` where the token is not valid, or no rule is about it. Nobody is asked for keys where there is no rule.
 * @param rules those whose issuer is the one that the token names
 * @throws UNAVAILABLE where the issuer cannot be reached
 */
export async function verifyOutsideToken(token: string, rules: TrustRule[], world: Outside): Promise<OutsideIdentity | null> {
  const issuer = rules[0]?.issuer ?? '';
  if (token.length > TOKEN_MAX_LENGTH || !isIssuer(issuer, world.insecureIssuers)) return null;
  const candidates = rules.filter((rule) => rule.issuer === issuer);
  const payload = await verifiedPayload(token, candidates, world);
  if (!payload || !hasSaneTimes(payload, world.now)) return null;
  const all = claimsOf(payload);
  const matched = candidates.filter(({ audience, claims }) => [payload.aud].flat().includes(audience) && allHold(claims, all));
  const claims = pick(all, new Set([...ALWAYS_READ, ...matched.flatMap(namesInRule)]));
  if (matched.length === 0 || Object.values(claims).some((value) => value.length > CLAIM_MAX_LENGTH)) return null;
  return { rules: matched, claims, until: Math.floor(payload.exp ?? 0) };
}

async function verifiedPayload(token: string, rules: TrustRule[], world: Outside): Promise<JWTPayload | null> {
  const issuer = rules[0]?.issuer ?? '';
  try {
    const { payload } = await jwtVerify(token, keysOf(issuer, world), {
      algorithms: ALGORITHMS,
      issuer,
      audience: rules.map(({ audience }) => audience),
      requiredClaims: ['exp', 'iat', 'sub'],
      currentDate: new Date(world.now),
      clockTolerance: CLOCK_TOLERANCE,
    });
    return payload;
  } catch (error) {
    // All else is the token's or the key's fault: jose refuses the one, and the runtime a key that it cannot import.
    if (error instanceof RegistryError) throw error;
    return null;
  }
}

/** jose knows no longest lifetime, and its tolerance would prolong a token; ours is for an issuer whose clock is ahead. */
function hasSaneTimes({ iat = Number.NaN, exp = Number.NaN, sub }: JWTPayload, now: number): boolean {
  const seconds = now / 1000;
  const timely = exp > seconds && iat <= seconds + CLOCK_TOLERANCE && exp - iat <= MAX_LIFETIME;
  return timely && typeof sub === 'string' && sub !== '';
}

function namesInRule({ claims, statements }: TrustRule): string[] {
  const inStatement = ({ when = {}, repositories, tags = [] }: RuleStatement): string[] => [
    ...namesIn(when),
    ...[...repositories, ...tags].flatMap(namesInPattern),
  ];
  return [...namesIn(claims), ...statements.flatMap(inStatement)];
}

/**
 * What the rule says of a token with these claims; nothing where they are not, or not any more, such as it asks for.
 * @param claims as `verifyOutsideToken` gave them
 */
export function statementsOf(rule: TrustRule, claims: Claims): Statement[] {
  if (!allHold(rule.claims, claims) || claims.iss !== rule.issuer) return [];
  return rule.statements.filter((statement) => counts(statement, claims)).flatMap((statement) => resolve(statement, claims));
}

/** What a pull request may do must be said for pull requests; what is forbidden is forbidden to them as well. */
function counts({ effect, when = {} }: RuleStatement, claims: Claims): boolean {
  return allHold(when, claims) && (effect === 'deny' || admitsOrigin(when, claims));
}

/** A pattern whose claim is absent says nothing: it is left out of what is allowed, and stays in what is denied. */
function resolve({ effect, actions, repositories, tags }: RuleStatement, claims: Claims): Statement[] {
  const known = repositories.map((pattern) => substitute(pattern, 'repository', claims));
  const knownTags = tags?.map((pattern) => substitute(pattern, 'tag', claims));
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
