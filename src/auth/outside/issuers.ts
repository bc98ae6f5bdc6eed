/**
 * Fetches and caches the public keys of outside issuers. Their address comes from the document of OpenID Connect Discovery 1.0,
 * and never from the header of a token. Requests have limits on time and size. The cache belongs to this isolate.
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { jsonOf } from '../../oci/json.ts';
import { refusalOfAddress } from '../../outbound/address.ts';
import { deadlineIn, request } from '../../outbound/request.ts';
import { report } from '../../telemetry.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Runtime } from '../runtime.ts';

/** The part of the runtime that is needed to fetch keys. */
export type Outside = Pick<Runtime, 'now' | 'fetch' | 'insecureIssuers'>;

const ISSUER_MAX_LENGTH = 255;

/**
 * The limits for fetching keys. `TIMEOUT_MS` applies to the discovery document and the keys together, `MAX_BYTES` to each of
 * them.
 */
const TIMEOUT_MS = 5000;
const MAX_BYTES = 256 * 1024;
const MAX_KEYS = 100;

/**
 * Times in milliseconds. `KEEP`: keys are cached for this long. `COOLDOWN`: the minimum time between two searches for an
 * unknown key. `PAUSE`: the minimum time between a failed attempt and the next one.
 */
const KEEP = 10 * 60_000;
const COOLDOWN = 60_000;
const PAUSE = 5000;

/** The number of seconds for which Cloudflare's cache stores the documents of an issuer. */
const EDGE_TTL = 300;

/**
 * Returns true for a valid issuer identifier: an https URL without query, fragment or user (Discovery 1.0, section 2). Its host
 * must be public. It must be written in the normalized form, because the `iss` of a token is compared with it as text.
 */
export function isIssuer(text: string, insecure: boolean): boolean {
  const url = URL.parse(text);
  if (!url || text.length > ISSUER_MAX_LENGTH || /[?#]/.test(text) || url.pathname.includes('//')) return false;
  return (text === url.href || text === url.origin) && isOutside(url.href, insecure);
}

/**
 * Returns true if the registry may send requests to this URL of an issuer. Unlike webhooks, issuers may use any port. The
 * registry's own host is allowed, because no document of the registry is a discovery document. Reserved domains are allowed,
 * because a request to them does no harm.
 */
function isOutside(url: string, insecure: boolean): boolean {
  return refusalOfAddress(url, { ownHosts: [], insecure, anyPort: true, anyDomain: true }) === null;
}

/**
 * The cached keys of an issuer and the times of requests to it. These are plain values and not promises, because a Worker must
 * not wait for a promise or stream of another request.
 */
interface Known {
  keys: JSONWebKeySet | null;
  fetchedAt: number;
  failedAt: number;
  /** The last time when an unknown key was searched, and whether the issuer answered. */
  askedAt: number;
  answered: boolean;
}

const known = new Map<string, Known>();
const KNOWN_MAX = 50;

function knownOf(issuer: string): Known {
  const found = known.get(issuer);
  if (found) return found;
  const [oldest] = known.keys();
  if (known.size >= KNOWN_MAX && oldest !== undefined) known.delete(oldest);
  const never = Number.NEGATIVE_INFINITY;
  const made = { keys: null, fetchedAt: never, failedAt: never, askedAt: never, answered: true };
  known.set(issuer, made);
  return made;
}

/**
 * Where the keys of an issuer are: its identifier, and the address of its keys if they have a fixed address instead of a
 * discovery document.
 */
interface Source {
  issuer: string;
  keysAt: string | null;
}

/**
 * Returns the function with which `jwtVerify` finds the key for a token's `alg` and `kid`.
 * @param keysAt the address of the keys if the issuer has no discovery document
 * @throws issuer-unreachable
 */
export function keysOf(issuer: string, runtime: Outside, keysAt: string | null = null): JWTVerifyGetKey {
  const source = { issuer, keysAt };
  return async (header, token) => {
    const kept = knownOf(keysAt ?? issuer);
    const keys = kept.keys && runtime.now - kept.fetchedAt < KEEP ? kept.keys : await refresh(source, kept, runtime, false);
    try {
      return await createLocalJWKSet(keys)(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const newer = await newerKeys(source, kept, runtime);
      if (!newer) throw error;
      return createLocalJWKSet(newer)(header, token);
    }
  };
}

/**
 * Fetches the keys again to find an unknown key, at most once a minute. The issuer may have new keys, but anybody can also
 * invent a `kid`.
 */
async function newerKeys(source: Source, kept: Known, runtime: Outside): Promise<JSONWebKeySet | null> {
  if (runtime.now - kept.askedAt < COOLDOWN) {
    if (kept.answered) return null;
    throw unreachable(source.issuer, 'it has not answered yet');
  }
  kept.askedAt = runtime.now;
  kept.answered = false;
  const keys = await refresh(source, kept, runtime, true);
  kept.answered = true;
  return keys;
}

async function refresh(source: Source, kept: Known, runtime: Outside, fresh: boolean): Promise<JSONWebKeySet> {
  const { issuer } = source;
  if (runtime.now - kept.failedAt < PAUSE) throw unreachable(issuer, 'it failed a moment ago');
  const deadline = deadlineIn(TIMEOUT_MS);
  try {
    const keys = await fetchKeys(source, { ...runtime, deadline, fresh: fresh || kept.failedAt > 0 });
    Object.assign(kept, { keys, fetchedAt: runtime.now, failedAt: Number.NEGATIVE_INFINITY });
    return keys;
  } catch (cause) {
    kept.failedAt = runtime.now;
    const reason = deadline.aborted ? 'it took too long' : cause instanceof Unusable ? cause.message : 'the connection failed';
    throw unreachable(issuer, reason, cause);
  }
}

/**
 * Returns the refusal for an issuer that cannot be reached. The credential itself is not refused, so the client tries again
 * (invariant 10). The reason is only logged. Otherwise the author of a rule could learn from the answer whether a host exists,
 * what it answers, or how fast.
 */
function unreachable(issuer: string, reason: string, cause?: unknown): Refusal {
  report('issuer.unreachable', { message: reason, issuer });
  const message = `the keys of the issuer ${issuer} could not be fetched. Its discovery document must be public`;
  return new Refusal('issuer-unreachable', { message, cause });
}

/** The error for an answer without usable keys. Its message is only logged. */
class Unusable extends Error {}

/**
 * The context of one attempt. If `fresh` is true, Cloudflare's cache is bypassed, because it would return the keys that are
 * already known.
 */
type Asking = Outside & { deadline: AbortSignal; fresh: boolean };

async function fetchKeys({ issuer, keysAt }: Source, asking: Asking): Promise<JSONWebKeySet> {
  const location = URL.parse(keysAt ?? (await discoveredKeys(issuer, asking)));
  if (!location || !isOutside(location.href, asking.insecureIssuers))
    throw new Unusable('its keys are at no address of the web');
  const { keys } = await fetchDocument(location.href, asking);
  if (!Array.isArray(keys) || !keys.every(isObject)) throw new Unusable('it has no set of keys');
  if (keys.length > MAX_KEYS) throw new Unusable(`it has more than ${MAX_KEYS} keys`);
  return { keys } as JSONWebKeySet;
}

/** Returns the address of the keys in the discovery document of an issuer. */
async function discoveredKeys(issuer: string, asking: Asking): Promise<string> {
  const configuration = await fetchDocument(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, asking);
  if (configuration.issuer !== issuer) throw new Unusable('its discovery document is that of another issuer');
  return typeof configuration.jwks_uri === 'string' ? configuration.jwks_uri : '';
}

async function fetchDocument(url: string, { fetch, deadline, fresh }: Asking): Promise<Record<string, unknown>> {
  const headers = { accept: 'application/json', 'user-agent': 'Berth' };
  const caching = fresh ? { cache: 'no-store' as const } : { cf: { cacheTtl: EDGE_TTL, cacheEverything: true } };
  const answer = await request(fetch, url, { headers, ...caching }, { deadline, maxBytes: MAX_BYTES });
  if (answer.status !== 200) {
    await answer.discard();
    throw new Unusable(`it answered with status ${answer.status}`);
  }
  const text = await answer.text();
  if (text === null) throw new Unusable(`it answered with more than ${MAX_BYTES} bytes`);
  const document = jsonOf(text);
  if (!isObject(document)) throw new Unusable('it answered with something else than a JSON object');
  return document;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
