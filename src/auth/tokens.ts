/**
 * The tokens that the registry issues: access tokens for /v2, refresh tokens for /token, login passwords for both and for the
 * management API, and signed locations of uploads. Except for locations, each token names the credential for which it was
 * issued. It allows no more and lasts no longer than that credential.
 *
 * The tokens are JWTs. Each kind of token has its own key, `typ` and maximum lifetime, so that no kind is accepted as another.
 * jose checks a fixed algorithm, issuer, audience, type and set of claims. The lifetime is checked here.
 */
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { DigestAlgorithm } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type KeyLabel, type Secrets, signingKey, verificationKeys } from '../secrets.ts';
import { LOGIN_PASSWORD_MAX_LIFETIME } from '../vocabulary/limits.ts';
import type { Credential, CredentialOrigin } from './credential.ts';
import type { TokenContext } from './runtime.ts';
import type { Grant } from './scope.ts';
import { isPasswordMark, type Passwords } from './secrets.ts';

const HOUR = 60 * 60;

/** The kind of access tokens. The lifetime is the longest time until a revocation takes effect on pulls. */
const ACCESS: Kind = { label: 'access-token', typ: 'berth-access+jwt', lifetime: 5 * 60 };
const REFRESH: Kind = { label: 'refresh-token', typ: 'berth-refresh+jwt', lifetime: 30 * 24 * HOUR };
const LOGIN: Kind = { label: 'login-password', typ: 'berth-login+jwt', lifetime: LOGIN_PASSWORD_MAX_LIFETIME };
/** The kind of signed upload locations. An upload that receives no data has the same lifetime. */
const LOCATION: Kind = { label: 'upload-location', typ: 'berth-upload+jwt', lifetime: 24 * HOUR };

export const REFRESH_TOKEN_LIFETIME = REFRESH.lifetime;

/**
 * The subject of a token and the credential for which it is issued. `until` is the expiry of that credential, in seconds since
 * the epoch, or `null` if it does not expire.
 */
interface Holder {
  subject: string;
  credentialOrigin: CredentialOrigin;
  until: number | null;
}

/** A token and its expiry, in seconds since the epoch. */
export interface Minted {
  token: string;
  expiresAt: number;
}

async function mintFor(env: Secrets, kind: Kind, holder: Holder, claims: JWTPayload, context: TokenContext): Promise<Minted> {
  const token = await mint(
    env,
    kind,
    { subject: holder.subject, claims: { via: holder.credentialOrigin, ...claims }, until: holder.until },
    context,
  );
  return { token, expiresAt: endOf(kind, context.now, holder.until) };
}

export function mintAccessToken(env: Secrets, holder: Holder, grants: Grant[], context: TokenContext): Promise<Minted> {
  return mintFor(env, ACCESS, holder, { access: grants }, context);
}

interface AccessToken {
  credential: Credential | null;
  subject: string;
  grants: Grant[];
}

/**
 * Verifies an access token.
 * @returns the caller and the grants of the token; `null` if it is a token of another issuer, invalid or expired
 */
export async function verifyAccessToken(env: Passwords, token: string, context: TokenContext): Promise<AccessToken | null> {
  const claims = await verifyOnce(env, token, context);
  if (!claims) return null;
  const grants = (claims.access as Grant[] | undefined) ?? [];
  return {
    credential: claims.sub === '' ? null : { ...credentialOf(claims), access: true },
    subject: claims.sub ?? '',
    grants,
  };
}

/** Returns false for a token that was issued for an earlier password of the first administrator. */
export async function isOfPassword(env: Passwords, claims: JWTPayload): Promise<boolean> {
  const { password } = (claims.via as CredentialOrigin | undefined) ?? {};
  return password === undefined || (await isPasswordMark(env, password));
}

export function credentialOf(claims: JWTPayload): Credential & { kind: 'token' } {
  // A token without an origin gets an epoch that no account has, so it is not valid.
  const credentialOrigin = (claims.via as CredentialOrigin | undefined) ?? { epoch: -1 };
  return { kind: 'token', subject: claims.sub ?? '', credentialOrigin, until: claims.exp ?? 0 };
}

interface Verified {
  claims: JWTPayload;
  /** The secrets, the password and the host with which the token was verified. */
  against: string;
}

/** The access tokens that this isolate has verified. A push sends the same token in dozens of requests. */
const verified = new Map<string, Verified>();
const VERIFIED_MAX = 500;

async function verifyOnce(env: Passwords, token: string, context: TokenContext): Promise<JWTPayload | null> {
  const against = `${env.REGISTRY_SECRET}\0${env.REGISTRY_SECRET_PREVIOUS}\0${env.ADMIN_PASSWORD}\0${context.service}`;
  const known = verified.get(token);
  if (known?.against === against && (known.claims.exp ?? 0) > context.now / 1000) return known.claims;
  const claims = await verify(env, ACCESS, token, context);
  if (claims === null || claims === 'expired' || !(await isOfPassword(env, claims))) return null;
  if (verified.size >= VERIFIED_MAX) verified.clear();
  verified.set(token, { claims, against });
  return claims;
}

/**
 * Issues a refresh token for one generation of a login. Each refresh token of a login has a generation number (`logins.ts`).
 */
export function mintRefreshToken(
  env: Secrets,
  holder: Holder,
  login: { id: string; generation: number },
  context: TokenContext,
): Promise<Minted> {
  return mintFor(env, REFRESH, holder, { login: login.id, generation: login.generation }, context);
}

/**
 * Verifies a refresh token.
 * @returns the credential; `expired` for a token that was valid until it expired; `null` for any other text
 */
export async function verifyRefreshToken(
  env: Passwords,
  token: string,
  context: TokenContext,
): Promise<Credential | 'expired' | null> {
  const claims = await verify(env, REFRESH, token, context);
  if (claims === null || claims === 'expired') return claims;
  if (!(await isOfPassword(env, claims))) return null;
  return { ...credentialOf(claims), login: { id: String(claims.login), generation: Number(claims.generation) } };
}

/** Returns true if the text claims to be a refresh token. The signature is not checked. */
export function isRefreshToken(text: string): boolean {
  try {
    return decodeProtectedHeader(text).typ === REFRESH.typ;
  } catch {
    return false;
  }
}

/** Issues a login password. @param lifetime in seconds, at most 12 hours; longer lifetimes are shortened */
export function mintLoginPassword(env: Secrets, holder: Holder, lifetime: number, context: TokenContext): Promise<Minted> {
  return mintFor(env, { ...LOGIN, lifetime: Math.min(lifetime, LOGIN.lifetime) }, holder, {}, context);
}

/**
 * Verifies a login password.
 * @returns the credential; `expired` for a login password that was valid until it expired; `null` for any other text
 */
export async function verifyLoginPassword(
  env: Passwords,
  token: string,
  context: TokenContext,
): Promise<Credential | 'expired' | null> {
  const claims = await verify(env, LOGIN, token, context);
  if (claims === null || claims === 'expired') return claims;
  return (await isOfPassword(env, claims)) ? credentialOf(claims) : null;
}

export const LOGIN_PASSWORD_TYPE = LOGIN.typ;

export interface UploadLocation {
  id: string;
  repository: RepositoryName;
  algorithm: DigestAlgorithm;
  /**
   * The number of bytes that the upload had received when the location was issued, or `null` in a location of an earlier
   * version of the registry.
   */
  offset: number | null;
}

/** Issues the signed location of an upload. The signature binds the upload to its repository and its owner. */
export function sealUpload(env: Secrets, upload: UploadLocation, subject: string, context: TokenContext): Promise<string> {
  return mint(
    env,
    LOCATION,
    { subject, claims: { upload: upload.id, name: upload.repository, alg: upload.algorithm, at: upload.offset } },
    context,
  );
}

/**
 * Reads a signed location. The caller must compare the owner and the repository with those of the request. @returns `null` if
 * the location is forged or has expired
 */
export async function unsealUpload(
  env: Secrets,
  sealed: string,
  context: TokenContext,
): Promise<(UploadLocation & { owner: string }) | null> {
  const claims = await verify(env, LOCATION, sealed, context);
  if (claims === null || claims === 'expired') return null;
  return {
    id: claims.upload as string,
    owner: claims.sub ?? '',
    repository: claims.name as RepositoryName,
    algorithm: claims.alg as DigestAlgorithm,
    offset: (claims.at as number | undefined) ?? null,
  };
}

const ALGORITHM = 'HS256';
const ISSUER = 'berth';

export interface Kind {
  label: KeyLabel;
  typ: string;
  /** The maximum lifetime in seconds. */
  lifetime: number;
}

/**
 * Issues and signs a token. @param until the expiry in seconds since the epoch, if it is earlier than the maximum lifetime
 * allows
 */
export async function mint(
  env: Secrets,
  kind: Kind,
  { subject, claims, until }: { subject: string; claims: JWTPayload; until?: number | null },
  { service, now }: TokenContext,
): Promise<string> {
  const issuedAt = Math.floor(now / 1000);
  return new SignJWT(claims)
    .setProtectedHeader({ alg: ALGORITHM, typ: kind.typ })
    .setIssuer(ISSUER)
    .setAudience(service)
    .setSubject(subject)
    .setIssuedAt(issuedAt)
    .setNotBefore(issuedAt)
    .setExpirationTime(endOf(kind, now, until ?? null))
    .setJti(crypto.randomUUID())
    .sign(await signingKey(env, kind.label));
}

/** Returns the expiry of a token that is issued at `now`, in seconds since the epoch. */
function endOf(kind: Kind, now: number, until: number | null): number {
  return Math.min(Math.floor(now / 1000) + kind.lifetime, until ?? Number.POSITIVE_INFINITY);
}

/**
 * Verifies a token.
 * @returns its claims if it is valid; `expired` if it was valid until it expired; `null` for any other text
 */
export async function verify(
  env: Secrets,
  kind: Kind,
  token: string,
  { service, now }: TokenContext,
): Promise<JWTPayload | 'expired' | null> {
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
      if (error instanceof errors.JWTExpired) return 'expired';
      if (!(error instanceof errors.JOSEError)) throw error;
    }
  }
  return null;
}

function hasSaneTimes({ iat = Number.NaN, exp = Number.NaN }: JWTPayload, kind: Kind, now: number): boolean {
  return iat <= now / 1000 && exp - iat <= kind.lifetime;
}
