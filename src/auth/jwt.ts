/**
 * How the registry's own JWTs are made and verified. Each kind has its own key, `typ` and longest lifetime, so none passes
 * for another. Verified by jose with everything fixed: algorithm, issuer, audience, type, required claims, and the lifetime,
 * which jose does not know.
 */
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { type KeyLabel, type Secrets, signingKey, verificationKeys } from '../secrets.ts';
import type { TokenContext } from './runtime.ts';

const ALGORITHM = 'HS256';
const ISSUER = 'berth';

export interface Kind {
  label: KeyLabel;
  typ: string;
  /** Seconds, at most. */
  lifetime: number;
}

/** @param until seconds since the epoch, where the token shall end before its kind's lifetime does */
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

/** When a token made now would end, in seconds since the epoch. */
export function endOf(kind: Kind, now: number, until: number | null): number {
  return Math.min(Math.floor(now / 1000) + kind.lifetime, until ?? Number.POSITIVE_INFINITY);
}

/** The claims of a valid token; `expired` of one that was valid until its time; `null` of all else. */
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
