/**
 * The endpoint of a webhook: a URL and custom headers. Either may hold a credential, so both are stored encrypted (AES-256-GCM, with a
 * key derived from the registry's secret), and only the parts that cannot be secret are shown.
 */
import { type Secrets, signingKey, verificationKeys } from '../../secrets.ts';

export interface Endpoint {
  url: string;
  headers: Record<string, string>;
}

const IV_BYTES = 12;
const LABEL = 'subscription-endpoint';

/** @param id of the subscription: the ciphertext of one cannot be used for another */
export async function seal(env: Secrets, id: string, endpoint: Endpoint): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const key = await imported(await signingKey(env, LABEL));
  const sealed = await crypto.subtle.encrypt(algorithm(iv, id), key, new TextEncoder().encode(JSON.stringify(endpoint)));
  return btoa(String.fromCharCode(...iv, ...new Uint8Array(sealed)));
}

/** `null`: encrypted with a secret of the registry that is neither the current nor the previous one. */
export async function unseal(env: Secrets, id: string, text: string): Promise<Endpoint | null> {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  for (const key of await verificationKeys(env, LABEL)) {
    const opened = await crypto.subtle
      .decrypt(algorithm(bytes.slice(0, IV_BYTES), id), await imported(key), bytes.slice(IV_BYTES))
      .catch(() => null);
    if (opened) return JSON.parse(new TextDecoder().decode(opened)) as Endpoint;
  }
  return null;
}

function algorithm(iv: Uint8Array<ArrayBuffer>, id: string) {
  return { name: 'AES-GCM', iv, additionalData: new TextEncoder().encode(id) };
}

function imported(key: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
}

/** The URL without its query, which may be a credential. Of Slack the path is one too (`pathIsSecret`). */
export function shownUrl({ url }: Endpoint, pathIsSecret: boolean): string {
  const { origin, pathname, search } = new URL(url);
  if (pathIsSecret) return `${origin}/…`;
  return search === '' ? `${origin}${pathname}` : `${origin}${pathname}?…`;
}
