/**
 * The JWTs of the registry: access tokens for /v2, refresh tokens for /token, and the signed locations of uploads. Each
 * kind has its own key, `typ` and lifetime, so none passes for another. Verified by jose with everything fixed: algorithm,
 * issuer, audience, type, required claims, and a maximum lifetime, which jose does not know.
 */
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { DigestAlgorithm } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { callerBySubject } from './accounts.ts';
import { ANONYMOUS, type Caller } from './policy.ts';
import type { Grant } from './scope.ts';
import { type KeyLabel, type Secrets, signingKey, verificationKeys } from './secrets.ts';

const ALGORITHM = 'HS256';
const ISSUER = 'berth';

/** Seconds. The access token's is the longest that a revocation may take to reach pulls. */
export const ACCESS_TOKEN_LIFETIME = 5 * 60;
const REFRESH_TOKEN_LIFETIME = 30 * 24 * 60 * 60;
/** As long as an upload lives that receives nothing. */
const LOCATION_LIFETIME = 24 * 60 * 60;

interface Kind {
  label: KeyLabel;
  typ: string;
  lifetime: number;
}

const ACCESS: Kind = { label: 'access-token', typ: 'berth-access+jwt', lifetime: ACCESS_TOKEN_LIFETIME };
const REFRESH: Kind = { label: 'refresh-token', typ: 'berth-refresh+jwt', lifetime: REFRESH_TOKEN_LIFETIME };
const LOCATION: Kind = { label: 'upload-location', typ: 'berth-upload+jwt', lifetime: LOCATION_LIFETIME };

/** Where and when: the audience is the host that clients use, `now` is in milliseconds. */
export interface Occasion {
  service: string;
  now: number;
}

export function mintAccessToken(env: Secrets, subject: string, grants: Grant[], occasion: Occasion): Promise<string> {
  return mint(env, ACCESS, subject, { access: grants }, occasion);
}

/** What the token allows, `null` for one that is not ours, not valid, or not valid any more. */
export async function verifyAccessToken(env: Secrets, token: string, occasion: Occasion): Promise<Caller | null> {
  const claims = await verifyOnce(env, token, occasion);
  const caller = claims && (claims.sub === '' ? ANONYMOUS : callerBySubject(claims.sub ?? ''));
  return caller ? { ...caller, grants: (claims.access as Grant[] | undefined) ?? [] } : null;
}

interface Verified {
  claims: JWTPayload;
  /** What it was verified against: other secrets or another host are another question. */
  against: string;
}

/** Access tokens that were verified in this isolate: one is sent with each of the dozens of requests of a push. */
const verified = new Map<string, Verified>();
const VERIFIED_MAX = 500;

async function verifyOnce(env: Secrets, token: string, occasion: Occasion): Promise<JWTPayload | null> {
  const against = `${env.REGISTRY_SECRET}\0${env.REGISTRY_SECRET_PREVIOUS}\0${occasion.service}`;
  const known = verified.get(token);
  if (known?.against === against && (known.claims.exp ?? 0) > occasion.now / 1000) return known.claims;
  const claims = await verify(env, ACCESS, token, occasion);
  if (verified.size >= VERIFIED_MAX) verified.clear();
  if (claims) verified.set(token, { claims, against });
  return claims;
}

export function mintRefreshToken(env: Secrets, subject: string, occasion: Occasion): Promise<string> {
  return mint(env, REFRESH, subject, {}, occasion);
}

export async function verifyRefreshToken(env: Secrets, token: string, occasion: Occasion): Promise<Caller | null> {
  const claims = await verify(env, REFRESH, token, occasion);
  return claims && callerBySubject(claims.sub ?? '');
}

export interface UploadLocation {
  id: string;
  repository: RepositoryName;
  algorithm: DigestAlgorithm;
}

/** An upload as a place in a URL: it binds the upload to a repository and to whoever began it. */
export function sealUpload(env: Secrets, upload: UploadLocation, subject: string, occasion: Occasion): Promise<string> {
  return mint(env, LOCATION, subject, { upload: upload.id, name: upload.repository, alg: upload.algorithm }, occasion);
}

/** `null` where the location is not ours, another's, of another repository, or too old. */
export async function unsealUpload(
  env: Secrets,
  sealed: string,
  expected: { repository: RepositoryName; subject: string },
  occasion: Occasion,
): Promise<UploadLocation | null> {
  const claims = await verify(env, LOCATION, sealed, occasion);
  if (!claims || claims.sub !== expected.subject || claims.name !== expected.repository) return null;
  return { id: claims.upload as string, repository: expected.repository, algorithm: claims.alg as DigestAlgorithm };
}

async function mint(
  env: Secrets,
  kind: Kind,
  subject: string,
  claims: JWTPayload,
  { service, now }: Occasion,
): Promise<string> {
  const issuedAt = Math.floor(now / 1000);
  return new SignJWT(claims)
    .setProtectedHeader({ alg: ALGORITHM, typ: kind.typ })
    .setIssuer(ISSUER)
    .setAudience(service)
    .setSubject(subject)
    .setIssuedAt(issuedAt)
    .setNotBefore(issuedAt)
    .setExpirationTime(issuedAt + kind.lifetime)
    .setJti(crypto.randomUUID())
    .sign(await signingKey(env, kind.label));
}

async function verify(env: Secrets, kind: Kind, token: string, { service, now }: Occasion): Promise<JWTPayload | null> {
  for (const key of await verificationKeys(env, kind.label)) {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [ALGORITHM],
        issuer: ISSUER,
        audience: service,
        typ: kind.typ,
        requiredClaims: ['sub', 'iat', 'nbf', 'exp', 'jti'],
        currentDate: new Date(now),
      });
      return hasSaneTimes(payload, kind, now) && typeof payload.aud === 'string' ? payload : null;
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
    }
  }
  return null;
}

function hasSaneTimes({ iat = Number.NaN, exp = Number.NaN }: JWTPayload, kind: Kind, now: number): boolean {
  return iat <= now / 1000 && exp - iat <= kind.lifetime;
}
