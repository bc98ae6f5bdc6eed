/** An outside issuer of tokens for tests, with real keys. Its `fetch` serves its two documents and records requests. */
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from 'jose';
import { mismatches, type Told, type TrustRule, verifyToken } from '../../src/auth/outside/oidc.ts';
import type { Runtime as Outside } from '../../src/auth/runtime.ts';

export const NOW = Date.UTC(2026, 10, 20, 12);
export const AUDIENCE = 'registry.test';

interface Key {
  kid: string;
  alg: string;
  privateKey: CryptoKey;
  publicJwk: JWK;
}

export interface Issuer {
  url: string;
  /** The public keys that the issuer serves. A test may change them. */
  keys: JWK[];
  /** The requested URLs, in order. */
  requests: string[];
  /** The options of each request. */
  inits: RequestInit<RequestInitCfProperties>[];
  /** Answers that replace the usual ones, by URL. */
  answers: Record<string, (init: RequestInit) => Response | Promise<Response>>;
  configuration: string;
  jwks: string;
  key: Key;
  /** Signs a token. A claim with the value `undefined` is removed. */
  sign(claims?: Record<string, unknown>, header?: Partial<JWTHeaderParameters>, key?: Key): Promise<string>;
  /** Creates a new key, with which the issuer signs from now on. The issuer still serves its previous keys. */
  rotate(): Promise<Key>;
  /** Returns a runtime whose `fetch` reaches the issuer, and whose clock is `seconds` after `NOW`. */
  world(seconds?: number): Outside;
}

let made = 0;

export async function newKey(alg = 'ES256'): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const kid = `key-${++made}`;
  return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

/** Creates an issuer. By default each issuer has another URL, because keys are cached by the URL. */
export async function newIssuer({ alg = 'ES256', url = `https://issuer-${++made}.example` } = {}): Promise<Issuer> {
  const key = await newKey(alg);
  const issuer: Issuer = {
    url,
    keys: [key.publicJwk],
    requests: [],
    inits: [],
    answers: {},
    configuration: `${url.replace(/\/$/, '')}/.well-known/openid-configuration`,
    jwks: `${url.replace(/\/$/, '')}/keys`,
    key,
    sign: (claims = {}, header = {}, by = issuer.key) => sign(issuer, claims, header, by),
    async rotate() {
      issuer.key = await newKey(alg);
      issuer.keys = [...issuer.keys, issuer.key.publicJwk];
      return issuer.key;
    },
    world: (seconds = 0) => ({ service: AUDIENCE, now: NOW + seconds * 1000, insecureIssuers: false, fetch: fetchOf(issuer) }),
  };
  return issuer;
}

function sign(
  issuer: Issuer,
  claims: Record<string, unknown>,
  header: Partial<JWTHeaderParameters>,
  key: Key,
): Promise<string> {
  const now = NOW / 1000;
  const usual = { iss: issuer.url, aud: AUDIENCE, sub: 'somebody', iat: now, nbf: now, exp: now + 600, jti: 'one' };
  const payload = Object.fromEntries(Object.entries({ ...usual, ...claims }).filter(([, value]) => value !== undefined));
  return new SignJWT(payload).setProtectedHeader({ alg: key.alg, typ: 'JWT', kid: key.kid, ...header }).sign(key.privateKey);
}

function fetchOf(issuer: Issuer): typeof fetch {
  return (async (input: RequestInfo, init: RequestInit<RequestInitCfProperties> = {}) => {
    const url = new Request(input, init).url;
    issuer.requests.push(url);
    issuer.inits.push(init);
    const answer = issuer.answers[url];
    if (answer) return answer(init);
    if (url === issuer.configuration) return Response.json({ issuer: issuer.url, jwks_uri: issuer.jwks });
    if (url === issuer.jwks) return Response.json({ keys: issuer.keys });
    return new Response('nothing here', { status: 404 });
  }) as typeof fetch;
}

/** Verifies a token and returns the rules that accept it, with its claims. Returns `null` if no rule accepts it. */
export async function takenFor(
  token: string,
  rules: TrustRule[],
  world: Outside,
): Promise<{ rules: TrustRule[]; told: Told } | null> {
  const issuer = rules[0]?.issuer ?? '';
  const genuine = await verifyToken(token, issuer, world);
  if (!genuine || genuine.refused !== null) return null;
  const matched = rules.filter((rule) => mismatches(rule, genuine.told).length === 0);
  return matched.length === 0 ? null : { rules: matched, told: genuine.told };
}
