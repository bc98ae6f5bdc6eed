/**
 * Sign-in by an OpenID Connect provider (OpenID Connect Core 1.0, section 3.1): authorization code flow with PKCE (RFC 7636),
 * `state`, `nonce`, and the `iss` parameter (RFC 9207). The library `openid-client` checks the answers of the provider.
 */
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client';
import { refusalOfAddress } from '../../outbound/address.ts';
import { deadlineIn, request } from '../../outbound/request.ts';
import { report } from '../../telemetry.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Outside } from './issuers.ts';

export interface Provider {
  issuer: string;
  clientId: string;
  clientSecret: string | null;
}

/** What the browser keeps between the two steps of a sign-in. It is useless without the provider's code. */
export interface Pending {
  state: string;
  nonce: string;
  verifier: string;
  /**
   * If set, the person must sign in at the provider anew, not before this time (seconds since the epoch): a session that the
   * browser has there is not enough.
   */
  notBefore: number | null;
}

/** A user at a provider. The provider never changes `subject` and never gives it to another user (Core 1.0, section 2). */
export interface Identity {
  issuer: string;
  subject: string;
}

/**
 * The maximum time for all requests of `beginAtProvider` or `finishAtProvider` together, and the maximum number of bytes of
 * each answer.
 */
const TIMEOUT_MS = 8000;
const MAX_BYTES = 256 * 1024;
/** The maximum number of characters of a `sub` (Core 1.0, section 2). */
const SUBJECT_MAX_LENGTH = 255;
/** The seconds by which the clock of the provider may differ. */
const CLOCK_SKEW = 30;

/**
 * The first step: the address of the provider to which the browser is sent, and what the browser must keep.
 * @param fresh true: the person must sign in at the provider anew (Core 1.0, section 3.1.2.1: `prompt` and `max_age`)
 */
export async function beginAtProvider(
  provider: Provider,
  callback: string,
  { fresh }: { fresh: boolean },
  outside: Outside,
): Promise<{ url: string; pending: Pending }> {
  const configuration = await configurationOf(provider, outside);
  const pending = {
    state: randomState(),
    nonce: randomNonce(),
    verifier: randomPKCECodeVerifier(),
    notBefore: fresh ? Math.floor(outside.now / 1000) : null,
  };
  const url = buildAuthorizationUrl(configuration, {
    redirect_uri: callback,
    scope: 'openid',
    code_challenge: await calculatePKCECodeChallenge(pending.verifier),
    code_challenge_method: 'S256',
    state: pending.state,
    nonce: pending.nonce,
    ...(fresh ? { prompt: 'login', max_age: '0' } : {}),
  });
  return { url: url.href, pending };
}

/**
 * The second step of a sign-in: exchanges the code for an ID token and checks the token.
 * @param returned the URL to which the provider sent the browser back, with its query
 * @throws unauthenticated if the answer does not belong to this sign-in; issuer-unreachable
 */
export async function finishAtProvider(
  provider: Provider,
  returned: URL,
  pending: Pending,
  outside: Outside,
): Promise<Identity> {
  const configuration = await configurationOf(provider, outside);
  try {
    const tokens = await authorizationCodeGrant(configuration, returned, {
      pkceCodeVerifier: pending.verifier,
      expectedState: pending.state,
      expectedNonce: pending.nonce,
      idTokenExpected: true,
    });
    const { iss, sub, auth_time: signedInAt } = tokens.claims() ?? {};
    if (iss !== provider.issuer || !sub || sub.length > SUBJECT_MAX_LENGTH) throw new Error('the ID token names nobody');
    requireFresh(signedInAt, pending.notBefore, outside.now);
    return { issuer: iss, subject: sub };
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    report('sign-in.refused', { issuer: provider.issuer, error: cause });
    throw new Refusal('unauthenticated', {
      message: 'the provider did not confirm this sign-in, or it was used already: begin again',
      cause,
    });
  }
}

/**
 * Requires that the person signed in at the provider after this began. A provider may ignore the wish for a new sign-in, so
 * only the claim `auth_time` counts (Core 1.0, section 3.1.3.7).
 * @throws unauthenticated
 */
function requireFresh(signedInAt: unknown, notBefore: number | null, now: number): void {
  if (notBefore === null) return;
  const isFresh =
    typeof signedInAt === 'number' && signedInAt >= notBefore - CLOCK_SKEW && signedInAt <= now / 1000 + CLOCK_SKEW;
  if (isFresh) return;
  throw new Refusal('unauthenticated', {
    message: 'the provider does not confirm that you have signed in there just now: nothing was changed',
  });
}

/** Fetches the configuration of the provider (Discovery 1.0, section 4). @throws issuer-unreachable */
async function configurationOf({ issuer, clientId, clientSecret }: Provider, outside: Outside): Promise<Configuration> {
  const deadline = deadlineIn(TIMEOUT_MS);
  const limitedFetch = async (url: string, init: Parameters<typeof fetch>[1] & object): Promise<Response> => {
    const options = { ownHosts: [], insecure: outside.insecureIssuers, anyPort: true, anyDomain: true };
    if (refusalOfAddress(url, options) !== null) throw new Error(`${new URL(url).host} is no public address`);
    const answer = await request(outside.fetch, url, init, { deadline, maxBytes: MAX_BYTES });
    const text = await answer.text();
    if (text === null) throw new Error(`the answer has more than ${MAX_BYTES} bytes`);
    return new Response(text, { status: answer.status, headers: answer.headers });
  };
  try {
    return await discovery(new URL(issuer), clientId, clientSecret ?? undefined, undefined, {
      [customFetch]: limitedFetch as never,
      // The signature of the ID token is checked too, although the token comes directly from the provider.
      execute: [enableNonRepudiationChecks, ...(outside.insecureIssuers ? [allowInsecureRequests] : [])],
    });
  } catch (cause) {
    report('issuer.unreachable', { issuer, error: cause });
    const message = `the sign-in provider ${issuer} could not be reached: try again, or sign in with an access key`;
    throw new Refusal('issuer-unreachable', { message, cause });
  }
}
