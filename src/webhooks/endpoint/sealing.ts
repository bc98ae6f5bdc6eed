/**
 * Encrypts the endpoint of a webhook: a URL and custom headers. Both may contain a credential, so both are stored encrypted,
 * and users see only the parts that cannot be secret.
 */
import { decrypt, encrypt, type Secrets } from '../../secrets.ts';

export interface Endpoint {
  url: string;
  headers: Record<string, string>;
}

const LABEL = 'subscription-endpoint';

/** Encrypts an endpoint. @param id the id of the subscription. The result cannot be decrypted for another subscription */
export async function seal(env: Secrets, id: string, endpoint: Endpoint): Promise<string> {
  return btoa(String.fromCharCode(...(await encrypt(env, LABEL, id, JSON.stringify(endpoint)))));
}

/**
 * Decrypts an endpoint. @returns `null` if it was encrypted with neither the current nor the previous secret of the registry
 */
export async function unseal(env: Secrets, id: string, text: string): Promise<Endpoint | null> {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const opened = await decrypt(env, LABEL, id, bytes);
  return opened === null ? null : (JSON.parse(opened) as Endpoint);
}

/** The minimum number of characters of a path segment that may be a key. */
const PATH_KEY_MIN = 16;

/** Returns true if a segment of the path may be a key. URLs of messaging services contain keys in their path. */
function isPathKey(segment: string): boolean {
  return segment.length >= PATH_KEY_MIN;
}

/**
 * Returns the URL without its query and without the path segments that may be keys.
 * @param pathIsSecret true to leave out the whole path, which is a credential in URLs of Slack
 */
export function shownUrl({ url }: Endpoint, pathIsSecret: boolean): string {
  const { origin, pathname, search } = new URL(url);
  if (pathIsSecret) return `${origin}/…`;
  const path = pathname.split('/').map((segment) => (isPathKey(segment) ? '…' : segment));
  return `${origin}${path.join('/')}${search === '' ? '' : '?…'}`;
}

/** Returns the parts of the endpoint that may be credentials. */
export function credentialsOf({ url, headers }: Endpoint): string[] {
  const { pathname, search, searchParams } = new URL(url);
  const raw = search
    .slice(1)
    .split('&')
    .map((part) => part.slice(part.indexOf('=') + 1));
  return [...Object.values(headers), ...searchParams.values(), ...raw, ...pathname.split('/').filter(isPathKey)];
}
