/** Operations that only the ECR API needs: the caller of a signed request, and the registry's account number. */
import type { Credential } from '../auth/credential.ts';
import { authorityOfKey } from '../auth/rights/lookup.ts';
import { readSignature, type SignatureProblem, type SignedRequest, verifySignature } from '../auth/sigv4.ts';
import { registryId } from '../ownership.ts';
import type { Arrival } from './call.ts';

export type { SignatureProblem, SignedRequest };

/** The service name in the credential scope of a signature (AWS Signature Version 4). */
const SERVICE = 'ecr';

/**
 * Finds the access key with which a request was signed. The caller passes the credential to `loadRights`, which decides whether
 * the key is still valid.
 * @returns the credential and the region that the client has configured, or what is wrong with the signature
 */
export async function credentialOfSignature(
  { env, now }: Arrival,
  request: SignedRequest,
): Promise<{ credential: Credential; region: string } | SignatureProblem> {
  const verified = await verifySignature(env, request, SERVICE, now);
  if ('problem' in verified) return verified;
  return { credential: { kind: 'key', key: verified.key, name: null }, region: verified.region };
}

/**
 * Checks before the body of a large request is read that its signature names a valid key. The signature covers the body, so it
 * is verified later. Without this check, anybody could make the registry hold large bodies in memory.
 * @returns what is wrong, or `null`
 */
export async function problemOfSigner({ env, now }: Arrival, request: SignedRequest): Promise<SignatureProblem | null> {
  const signature = readSignature(request, SERVICE, now);
  if ('problem' in signature) return signature;
  return (await authorityOfKey(env, signature.keyId, [])) === null ? { problem: 'unknown-key' } : null;
}

const DIGITS = 12;

/**
 * Returns the registry's number, which is used where AWS has an account id. It has 12 digits. It is derived from the id of the
 * registry in D1, so it never changes.
 */
export async function registryNumber(env: Parameters<typeof registryId>[0]): Promise<string> {
  const id = BigInt(`0x${(await registryId(env)).replaceAll('-', '')}`);
  return String(id % 10n ** BigInt(DIGITS)).padStart(DIGITS, '0');
}
