/**
 * The endpoint of a webhook: a URL and custom headers. Both can contain a credential, so both are stored encrypted, and the API
 * shows only parts that cannot be secret.
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

/** Decrypts an endpoint. @returns `null` if neither the current nor the previous secret of the registry decrypts it */
export async function unseal(env: Secrets, id: string, text: string): Promise<Endpoint | null> {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const opened = await decrypt(env, LABEL, id, bytes);
  return opened === null ? null : (JSON.parse(opened) as Endpoint);
}

/**
 * Returns the URL without its query, which can be a credential.
 * @param pathIsSecret true: also leaves out the path, which is a credential in URLs of Slack
 */
export function shownUrl({ url }: Endpoint, pathIsSecret: boolean): string {
  const { origin, pathname, search } = new URL(url);
  if (pathIsSecret) return `${origin}/…`;
  return search === '' ? `${origin}${pathname}` : `${origin}${pathname}?…`;
}
