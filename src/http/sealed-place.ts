/**
 * Where a list goes on that its reader left among what is hidden from them: a name they must not see, so they are handed it sealed
 * (AES-256-GCM, under a key that is derived from the registry's secret), and all of one length.
 */
import { derive, requireSecret, type Secrets, secretsOf } from '../secrets.ts';

const IV_BYTES = 12;
const LABEL = 'place-in-list';
/** More than a place has: the longest name and a number. */
const PLACE_LENGTH = 288;
/** No name begins so. */
const MARK = '~';

/** @param list the path of it: what is sealed for one means nothing to another */
export async function sealPlace(env: Secrets, list: string, place: string): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const key = await imported(await derive(requireSecret(env), LABEL));
  const text = new TextEncoder().encode(place.padEnd(PLACE_LENGTH));
  const sealed = new Uint8Array(await crypto.subtle.encrypt(algorithm(iv, list), key, text));
  return (
    MARK +
    btoa(String.fromCharCode(...iv, ...sealed))
      .replaceAll('+', '-')
      .replaceAll('/', '_')
  );
}

/** What is not sealed is as it was; `null` for what is, but not by us, or not for this list. */
export async function openPlace(env: Secrets, list: string, text: string): Promise<string | null> {
  if (!text.startsWith(MARK)) return text;
  const bytes = bytesOf(text.slice(MARK.length));
  for (const secret of secretsOf(env)) {
    const key = await imported(await derive(secret, LABEL));
    const opened = await crypto.subtle
      .decrypt(algorithm(bytes.slice(0, IV_BYTES), list), key, bytes.slice(IV_BYTES))
      .catch(() => null);
    if (opened) return new TextDecoder().decode(opened).trimEnd();
  }
  return null;
}

/** Nothing of what is no base64url. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[\w-]+=*$/.test(text) || text.length % 4 !== 0) return new Uint8Array();
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));
}

function algorithm(iv: Uint8Array<ArrayBuffer>, list: string) {
  return { name: 'AES-GCM', iv, additionalData: new TextEncoder().encode(list) };
}

function imported(key: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
}
