/**
 * Where a webhook goes: a URL and headers of its owner's. Either may hold a credential, so the database has them sealed
 * (AES-256-GCM, under a key that is derived from the registry's secret), and people are shown what is no secret of them.
 */
import { type Secrets, signingKey, verificationKeys } from '../../secrets.ts';

export interface Endpoint {
  url: string;
  headers: Record<string, string>;
}

const IV_BYTES = 12;
const LABEL = 'subscription-endpoint';

/** @param id of the subscription: what is sealed for one cannot be put in the place of another's */
export async function seal(env: Secrets, id: string, endpoint: Endpoint): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const key = await imported(await signingKey(env, LABEL));
  const sealed = await crypto.subtle.encrypt(algorithm(iv, id), key, new TextEncoder().encode(JSON.stringify(endpoint)));
  return btoa(String.fromCharCode(...iv, ...new Uint8Array(sealed)));
}

/** `null` where it was sealed under a secret that is neither the current one nor the one before. */
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

/** Without what may be a credential: the query, and where the path is one, as Slack's is, the path. */
export function shownUrl({ url }: Endpoint, pathIsSecret: boolean): string {
  const { origin, pathname, search } = new URL(url);
  if (pathIsSecret) return `${origin}/…`;
  return search === '' ? `${origin}${pathname}` : `${origin}${pathname}?…`;
}
