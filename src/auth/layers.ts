/**
 * What the ECR API gives to clients for layers: ids of uploads, and tokens of download URLs. Both are made from the registry's
 * secret, so the database stores nothing for them.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type Secrets, signingKey, verificationKeys } from '../secrets.ts';
import type { Credential, CredentialOrigin } from './credential.ts';
import type { TokenContext } from './runtime.ts';
import type { Passwords } from './secrets.ts';
import { credentialOf, isOfPassword, type Kind, mint, verify } from './tokens.ts';

/** The repository of an upload, and its owner (`holderOf`), who alone can continue it. */
interface LayerUpload {
  repository: RepositoryName;
  owner: string;
}

/** The parts of an id: the time in milliseconds, random bytes, and the first bytes of the HMAC of the rest. */
const TIME_BYTES = 6;
const RANDOM_BYTES = 4;
const MARK_BYTES = 6;
const SECRET_BYTES = 16;

/** Makes the id of an upload: 128 bits in the form of a UUID. */
export async function newLayerUpload(env: Secrets, upload: LayerUpload, { now }: TokenContext): Promise<string> {
  const bytes = new Uint8Array(TIME_BYTES + RANDOM_BYTES + MARK_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(now / 2 ** 32));
  view.setUint32(2, now % 2 ** 32);
  crypto.getRandomValues(bytes.subarray(TIME_BYTES, TIME_BYTES + RANDOM_BYTES));
  const { mark } = await derived(await signingKey(env, 'layer-upload'), upload, bytes);
  bytes.set(mark, TIME_BYTES + RANDOM_BYTES);
  return hexOf(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/**
 * Reads an id of an upload.
 * @returns the time when it was made, in milliseconds since the epoch, and 128 bits as hexadecimal text that belong to this
 *   upload. `null` if the id was not made by this registry for this repository and owner
 */
export async function openLayerUpload(
  env: Secrets,
  id: string,
  upload: LayerUpload,
): Promise<{ madeAt: number; name: string } | null> {
  const bytes = Uint8Array.from(id.replaceAll('-', '').match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const view = new DataView(bytes.buffer);
  const sent = hexOf(bytes.subarray(TIME_BYTES + RANDOM_BYTES));
  for (const key of await verificationKeys(env, 'layer-upload')) {
    const { mark, name } = await derived(key, upload, bytes);
    if (hexOf(mark) === sent) return { madeAt: view.getUint16(0) * 2 ** 32 + view.getUint32(2), name };
  }
  return null;
}

async function derived(key: Uint8Array<ArrayBuffer>, { repository, owner }: LayerUpload, bytes: Uint8Array) {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const text = JSON.stringify([hexOf(bytes.subarray(0, TIME_BYTES + RANDOM_BYTES)), repository, owner]);
  const hash = new Uint8Array(await crypto.subtle.sign('HMAC', imported, new TextEncoder().encode(text)));
  return {
    mark: hash.subarray(0, MARK_BYTES),
    name: hexOf(hash.subarray(MARK_BYTES, MARK_BYTES + SECRET_BYTES)),
  };
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The kind of the tokens in download URLs. */
const DOWNLOAD: Kind = { label: 'layer-download', typ: 'berth-layer+jwt', lifetime: 15 * 60 };

/** The blob that a download URL is for. */
interface Download {
  repository: RepositoryName;
  digest: Digest;
}

interface Holder {
  subject: string;
  credentialOrigin: CredentialOrigin;
  until: number | null;
}

/** Makes a token that allows the holder to download one blob. It ends with the holder's credential. */
export function mintDownload(
  env: Secrets,
  { subject, credentialOrigin, until }: Holder,
  { repository, digest }: Download,
  context: TokenContext,
): Promise<string> {
  const claims = { via: credentialOrigin, name: repository, digest };
  return mint(env, DOWNLOAD, { subject, claims, until }, context);
}

/** Verifies a token. The database decides whether its holder may still pull. @returns `null` if it is invalid or has expired */
export async function verifyDownload(
  env: Passwords,
  token: string,
  context: TokenContext,
): Promise<(Download & { credential: Credential }) | null> {
  const claims = await verify(env, DOWNLOAD, token, context);
  if (claims === null || claims === 'expired' || !(await isOfPassword(env, claims))) return null;
  return { repository: claims.name as RepositoryName, digest: claims.digest as Digest, credential: credentialOf(claims) };
}
