/**
 * Makes and verifies the registry's own JWTs. Each kind has its own key, `typ` and longest lifetime, so that no kind passes for
 * another. jose checks a fixed algorithm, issuer, audience, type and set of claims; the lifetime is checked here.
 */
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { type KeyLabel, type Secrets, signingKey, verificationKeys } from '../secrets.ts';
import type { TokenContext } from './runtime.ts';

const ALGORITHM = 'HS256';
const ISSUER = 'berth';

export interface Kind {
  label: KeyLabel;
  typ: string;
  /** The longest lifetime, in seconds. */
  lifetime: number;
}

/** @param until an earlier end than the lifetime of its kind, in seconds since the epoch */
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

/** The end of a token that is made now, in seconds since the epoch. */
export function endOf(kind: Kind, now: number, until: number | null): number {
  return Math.min(Math.floor(now / 1000) + kind.lifetime, until ?? Number.POSITIVE_INFINITY);
}

/** @returns the claims of a valid token; `expired` for one that was valid until it expired; `null` for any other text */
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
