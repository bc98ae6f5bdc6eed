/**
 * Sign-in by Cloudflare Access. Access stands in front of the registry and adds a signed token to each request of a user whom
 * it has let in (Cloudflare One, "Validate JWTs"). Anybody can send a header with this name, so only the signature counts.
 */
import { errors, jwtVerify } from 'jose';
import { report } from '../../telemetry.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { keysOf, type Outside } from './issuers.ts';
import type { Identity } from './provider.ts';

/** An application of Access. `issuer` is the team's domain, `https://<team>.cloudflareaccess.com`. */
export interface AccessApplication {
  issuer: string;
  /** The tag of the application, "AUD" in the dashboard. */
  audience: string;
}

/** The header in which Access sends the token. */
export const ACCESS_HEADER = 'cf-access-jwt-assertion';

/** The accepted signature algorithms. Access signs with RS256 and also offers ES256. */
const ALGORITHMS = ['RS256', 'ES256'];
const SUBJECT_MAX_LENGTH = 255;

/** @throws unauthenticated if the token is not a valid token of a user for this application; issuer-unreachable */
export async function identityOfAccess(
  { issuer, audience }: AccessApplication,
  token: string,
  outside: Outside,
): Promise<Identity> {
  try {
    const keys = keysOf(issuer, outside, `${issuer}/cdn-cgi/access/certs`);
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['sub', 'iat', 'exp'],
      currentDate: new Date(outside.now),
    });
    // The token of a service (not of a user) has an empty `sub`.
    if (!payload.sub || payload.sub.length > SUBJECT_MAX_LENGTH) throw new errors.JWTInvalid('it names no person');
    return { issuer, subject: payload.sub };
  } catch (cause) {
    if (!(cause instanceof errors.JOSEError)) throw cause;
    report('sign-in.refused', { issuer, error: cause });
    throw new Refusal('unauthenticated', {
      message: 'Cloudflare Access did not confirm who you are: nothing was changed',
      cause,
    });
  }
}
