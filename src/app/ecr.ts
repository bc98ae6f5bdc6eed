/** Operations that only the ECR API has: the caller of a signed request, and the registry's number. */
import type { Credential } from '../auth/credential.ts';
import { type SignatureProblem, type SignedRequest, verifySignature } from '../auth/sigv4.ts';
import { registryId } from '../ownership.ts';
import type { Arrival } from './call.ts';

export type { SignatureProblem, SignedRequest };

/** The service that the credential scope of a signature names. */
const SERVICE = 'ecr';

/**
 * Returns the access key that signed the request. `loadRights` then decides whether the key still counts.
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

const DIGITS = 12;

/**
 * Returns the registry's number, which stands in for the id of an AWS account: 12 digits that are derived from the id of the
 * registry in its database, so they never change.
 */
export async function registryNumber(env: Parameters<typeof registryId>[0]): Promise<string> {
  const id = BigInt(`0x${(await registryId(env)).replaceAll('-', '')}`);
  return String(id % 10n ** BigInt(DIGITS)).padStart(DIGITS, '0');
}
