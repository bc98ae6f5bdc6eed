/**
 * Verifies requests that are signed with AWS Signature Version 4 (AWS, "Signature Version 4 for API requests"). The signing key
 * is derived from the secret of an access key, so no further secret is stored. Only requests without a path and a query string
 * are supported, because ECR's operations are named in a header.
 */
import { digestOf, hexOf } from '../oci/digest.ts';
import { accessKeySecrets, type Passwords } from './secrets.ts';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const TERMINATOR = 'aws4_request';

/** The maximum difference between the clocks of a client and the registry, in milliseconds. AWS accepts the same. */
const SKEW_MAX = 15 * 60 * 1000;

/** The parts of a request that its signature covers. */
export interface SignedRequest {
  method: string;
  /** All headers of the request, by name in lower case. */
  headers: ReadonlyMap<string, string>;
  body: Uint8Array;
}

/** The signature in an Authorization header. */
export interface Signature {
  /** The id of the access key. */
  keyId: string;
  /** The day in the credential scope, as `YYYYMMDD`. */
  day: string;
  region: string;
  service: string;
  /** The names of the signed headers, in lower case and sorted. */
  signedHeaders: string[];
  hex: string;
}

export type SignatureProblem =
  /** The request has no signature. */
  | { problem: 'missing' }
  /** The signature cannot be parsed, or does not cover what it must cover. `message` says what is wrong. */
  | { problem: 'incomplete'; message: string }
  /** The key id does not have the form of this registry's key ids. */
  | { problem: 'unknown-key' }
  /** The signature does not belong to the request, or the clock of the client is wrong. `message` says which. */
  | { problem: 'invalid'; message: string };

interface VerifiedSignature {
  /** The id of the access key. Whether the key is still valid is decided later from D1. */
  key: string;
  /** The region in the credential scope. The registry accepts any region. */
  region: string;
}

/**
 * Verifies the signature of a request without a D1 call.
 * @param service the service in the credential scope, for example `ecr`
 * @param now milliseconds since the epoch
 */
export async function verifySignature(
  env: Passwords,
  request: SignedRequest,
  service: string,
  now: number,
): Promise<VerifiedSignature | SignatureProblem> {
  const signature = readSignature(request, service, now);
  if ('problem' in signature) return signature;
  const secrets = await accessKeySecrets(env, signature.keyId);
  if (secrets === null) return { problem: 'unknown-key' };
  const bodyHash = await sha256(request.body);
  const sentHash = request.headers.get('x-amz-content-sha256');
  if (sentHash !== undefined && sentHash !== bodyHash) return mismatch('x-amz-content-sha256 is not the hash of the body');
  const checks = await Promise.all(secrets.map((secret) => isSignedWith(secret, signature, request, bodyHash)));
  if (checks.includes(true)) return { key: signature.keyId, region: signature.region };
  return mismatch(
    'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and ' +
      'signing method. Consult the service documentation for details.',
  );
}

/** Parses the signature of a request, and checks everything about it except the HMAC. */
export function readSignature(request: SignedRequest, service: string, now: number): Signature | SignatureProblem {
  const signature = signatureIn(request.headers.get('authorization'));
  if ('problem' in signature) return signature;
  return problemOf(signature, request, service) ?? clockProblem(signature, request, now) ?? signature;
}

function mismatch(message: string): SignatureProblem {
  return { problem: 'invalid', message };
}

/** Parses an Authorization header. The commas between its parts need not be followed by a space. */
function signatureIn(header: string | undefined): Signature | SignatureProblem {
  if (header === undefined) return { problem: 'missing' };
  const incomplete = (message: string): SignatureProblem => ({ problem: 'incomplete', message });
  if (!header.startsWith(`${ALGORITHM} `)) return incomplete(`the Authorization header must begin with ${ALGORITHM}`);
  const parts = header.slice(ALGORITHM.length + 1).split(',');
  const fields = new Map(parts.map((part) => part.trim().split(/=(.*)/s, 2) as [string, string]));
  const [credential = '', signed = '', hex = ''] = ['Credential', 'SignedHeaders', 'Signature'].map((name) => fields.get(name));
  if (fields.size !== 3 || parts.length !== 3 || !credential || !signed || !hex)
    return incomplete('the Authorization header must have Credential, SignedHeaders and Signature, once each');
  const [keyId = '', day = '', region = '', service = '', terminator = '', ...more] = credential.split('/');
  if (terminator !== TERMINATOR || more.length > 0 || !/^\d{8}$/.test(day) || !/^[a-z0-9-]{1,64}$/.test(region))
    return incomplete(`Credential must be KEY/YYYYMMDD/REGION/SERVICE/${TERMINATOR}`);
  if (!/^[0-9a-f]{64}$/.test(hex)) return incomplete('Signature must have 64 hexadecimal digits');
  return { keyId, day, region, service, signedHeaders: signed.split(';'), hex };
}

/** Checks that the signature covers every part of the request that decides what the request does. */
function problemOf({ service, signedHeaders }: Signature, request: SignedRequest, wanted: string): SignatureProblem | null {
  const names = [...request.headers.keys()];
  const mustSign = ['host', ...names.filter((name) => name.startsWith('x-amz-'))];
  const missing = mustSign.filter((name) => !signedHeaders.includes(name));
  if (missing.length > 0) return { problem: 'incomplete', message: `SignedHeaders must contain ${missing.join(', ')}` };
  const isSorted = signedHeaders.every((name, n) => n === 0 || (signedHeaders[n - 1] as string) < name);
  const absent = signedHeaders.find((name) => !request.headers.has(name));
  if (!isSorted || absent !== undefined)
    return { problem: 'incomplete', message: 'SignedHeaders must name headers of this request, sorted and once each' };
  if (service === wanted) return null;
  return mismatch(`Credential should be scoped to correct service: '${wanted}'.`);
}

const TIME = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/;

/** Checks the time of the signature. So a request that an attacker recorded can be repeated for only some minutes. */
function clockProblem({ day }: Signature, { headers }: SignedRequest, now: number): SignatureProblem | null {
  const sent = headers.get('x-amz-date') ?? '';
  const match = TIME.exec(sent);
  const time = match ? Date.parse(`${match.slice(1, 4).join('-')}T${match.slice(4, 7).join(':')}Z`) : Number.NaN;
  if (Number.isNaN(time)) return { problem: 'incomplete', message: 'X-Amz-Date must be a time as 20251130T120000Z' };
  if (!sent.startsWith(day))
    return mismatch(`Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${sent}'`);
  if (time < now - SKEW_MAX)
    return mismatch(`Signature expired: ${sent} is now earlier than ${timeText(now - SKEW_MAX)} (${timeText(now)} - 15 min.)`);
  if (time > now + SKEW_MAX)
    return mismatch(
      `Signature not yet current: ${sent} is still later than ${timeText(now + SKEW_MAX)} (${timeText(now)} + 15 min.)`,
    );
  return null;
}

function timeText(time: number): string {
  return new Date(time).toISOString().replace(/\.\d{3}|[-:]/g, '');
}

/** Returns the text whose HMAC is the signature. It contains the hash of the canonical request. */
async function stringToSign(
  { day, region, service, signedHeaders }: Signature,
  { method, headers }: SignedRequest,
  bodyHash: string,
): Promise<string> {
  const lines = signedHeaders.map((name) => `${name}:${(headers.get(name) ?? '').trim().replaceAll(/ +/g, ' ')}\n`);
  const canonical = [method, '/', '', lines.join(''), signedHeaders.join(';'), bodyHash].join('\n');
  const scope = [day, region, service, TERMINATOR].join('/');
  return [ALGORITHM, headers.get('x-amz-date'), scope, await sha256(new TextEncoder().encode(canonical))].join('\n');
}

/** Returns true if the signature was made with this secret. The comparison takes constant time. */
async function isSignedWith(secret: string, signature: Signature, request: SignedRequest, bodyHash: string): Promise<boolean> {
  const { day, region, service, hex } = signature;
  let key = await hmacKey(new Uint8Array(new TextEncoder().encode(`AWS4${secret}`)));
  for (const part of [day, region, service, TERMINATOR])
    key = await hmacKey(new Uint8Array(await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(part))));
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const text = await stringToSign(signature, request, bodyHash);
  return crypto.subtle.verify('HMAC', key, bytes, new TextEncoder().encode(text));
}

function hmacKey(bytes: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']);
}

async function sha256(bytes: Uint8Array): Promise<string> {
  return hexOf(await digestOf('sha256', bytes));
}
