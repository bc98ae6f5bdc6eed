/**
 * The registry's own tokens: access tokens for /v2, refresh tokens for /token, login passwords for both and for the API, and
 * the signed locations of uploads. Each remembers what it was made with, and is good for no more and no longer than that.
 */
import type { JWTPayload } from 'jose';
import type { DigestAlgorithm } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Secrets } from '../secrets.ts';
import { LOGIN_PASSWORD_MAX_LIFETIME } from '../vocabulary/limits.ts';
import type { Credential, CredentialOrigin } from './credential.ts';
import { endOf, type Kind, mint, verify } from './jwt.ts';
import type { TokenContext } from './runtime.ts';
import type { Grant } from './scope.ts';
import { isPasswordMark, type Passwords } from './secrets.ts';

const HOUR = 60 * 60;

/** The access token's lifetime is the longest that a revocation may take to reach pulls. */
const ACCESS: Kind = { label: 'access-token', typ: 'berth-access+jwt', lifetime: 5 * 60 };
const REFRESH: Kind = { label: 'refresh-token', typ: 'berth-refresh+jwt', lifetime: 30 * 24 * HOUR };
const LOGIN: Kind = { label: 'login-password', typ: 'berth-login+jwt', lifetime: LOGIN_PASSWORD_MAX_LIFETIME };
/** As long as an upload lives that receives nothing. */
const LOCATION: Kind = { label: 'upload-location', typ: 'berth-upload+jwt', lifetime: 24 * HOUR };

export const REFRESH_TOKEN_LIFETIME = REFRESH.lifetime;

/** Whoever a token is for, what it is made with, and the end of that: seconds since the epoch, `null` for none. */
export interface Holder {
  subject: string;
  via: CredentialOrigin;
  until: number | null;
}

/** A token and when it ends, in seconds since the epoch. */
export interface Minted {
  token: string;
  expiresAt: number;
}

async function mintFor(env: Secrets, kind: Kind, holder: Holder, claims: JWTPayload, context: TokenContext): Promise<Minted> {
  const token = await mint(
    env,
    kind,
    { subject: holder.subject, claims: { via: holder.via, ...claims }, until: holder.until },
    context,
  );
  return { token, expiresAt: endOf(kind, context.now, holder.until) };
}

export function mintAccessToken(env: Secrets, holder: Holder, grants: Grant[], context: TokenContext): Promise<Minted> {
  return mintFor(env, ACCESS, holder, { access: grants }, context);
}

export interface AccessToken {
  credential: Credential | null;
  subject: string;
  grants: Grant[];
}

/** What the token allows, `null` for one that is not ours, not valid, or not valid any more. */
export async function verifyAccessToken(env: Passwords, token: string, context: TokenContext): Promise<AccessToken | null> {
  const claims = await verifyOnce(env, token, context);
  if (!claims || !(await isOfPassword(env, claims))) return null;
  const grants = (claims.access as Grant[] | undefined) ?? [];
  return {
    credential: claims.sub === '' ? null : { ...credentialOf(claims), access: true },
    subject: claims.sub ?? '',
    grants,
  };
}

/** Of one made with the bootstrap administrator's password: whether that is still the password. */
async function isOfPassword(env: Passwords, claims: JWTPayload): Promise<boolean> {
  const { password } = (claims.via as CredentialOrigin | undefined) ?? {};
  return password === undefined || (await isPasswordMark(env, password));
}

function credentialOf(claims: JWTPayload): Credential & { kind: 'token' } {
  // One that says nothing of its origin is of no epoch.
  const via = (claims.via as CredentialOrigin | undefined) ?? { epoch: -1 };
  return { kind: 'token', subject: claims.sub ?? '', via, until: claims.exp ?? 0 };
}

interface Verified {
  claims: JWTPayload;
  /** What it was verified against: other secrets or another host are another question. */
  against: string;
}

/** Access tokens that were verified in this isolate: one is sent with each of the dozens of requests of a push. */
const verified = new Map<string, Verified>();
const VERIFIED_MAX = 500;

async function verifyOnce(env: Secrets, token: string, context: TokenContext): Promise<JWTPayload | null> {
  const against = `${env.REGISTRY_SECRET}\0${env.REGISTRY_SECRET_PREVIOUS}\0${context.service}`;
  const known = verified.get(token);
  if (known?.against === against && (known.claims.exp ?? 0) > context.now / 1000) return known.claims;
  const claims = await verify(env, ACCESS, token, context);
  if (claims === null || claims === 'expired') return null;
  if (verified.size >= VERIFIED_MAX) verified.clear();
  verified.set(token, { claims, against });
  return claims;
}

/** One of a login and its generation: `logins.ts` keeps count. */
export function mintRefreshToken(
  env: Secrets,
  holder: Holder,
  login: { id: string; generation: number },
  context: TokenContext,
): Promise<Minted> {
  return mintFor(env, REFRESH, holder, { login: login.id, generation: login.generation }, context);
}

export async function verifyRefreshToken(env: Passwords, token: string, context: TokenContext): Promise<Credential | null> {
  const claims = await verify(env, REFRESH, token, context);
  if (claims === null || claims === 'expired' || !(await isOfPassword(env, claims))) return null;
  return { ...credentialOf(claims), login: { id: String(claims.login), generation: Number(claims.generation) } };
}

/** @param lifetime seconds, 12 hours at most */
export function mintLoginPassword(env: Secrets, holder: Holder, lifetime: number, context: TokenContext): Promise<Minted> {
  return mintFor(env, { ...LOGIN, lifetime: Math.min(lifetime, LOGIN.lifetime) }, holder, {}, context);
}

/** `expired`: one that was right once. */
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
  /** Bytes that the upload had received when the location was given out; `null` in a location of an older version. */
  offset: number | null;
}

/** An upload as a place in a URL: it binds the upload to a repository and to whoever began it. */
export function sealUpload(env: Secrets, upload: UploadLocation, subject: string, context: TokenContext): Promise<string> {
  return mint(
    env,
    LOCATION,
    { subject, claims: { upload: upload.id, name: upload.repository, alg: upload.algorithm, at: upload.offset } },
    context,
  );
}

/** `null` where the location is not ours, another's, of another repository, or too old. */
export async function unsealUpload(
  env: Secrets,
  sealed: string,
  expected: { repository: RepositoryName; subject: string },
  context: TokenContext,
): Promise<UploadLocation | null> {
  const claims = await verify(env, LOCATION, sealed, context);
  if (claims === null || claims === 'expired') return null;
  if (claims.sub !== expected.subject || claims.name !== expected.repository) return null;
  return {
    id: claims.upload as string,
    repository: expected.repository,
    algorithm: claims.alg as DigestAlgorithm,
    offset: (claims.at as number | undefined) ?? null,
  };
}
