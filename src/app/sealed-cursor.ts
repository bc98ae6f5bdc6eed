/**
 * Encrypted pagination cursors (AES-256-GCM), for pages that end at a name the caller may not see. All have the same length, so the
 * length tells nothing either.
 */
import { derive, requireSecret, type Secrets, secretsOf } from '../secrets.ts';

const IV_BYTES = 12;
const LABEL = 'place-in-list';
/** Characters: more than the longest name with a number behind it. */
const CURSOR_LENGTH = 288;
/** What an encrypted cursor begins with, and no name does. */
const MARK = '~';

/** @param list the name of the list: a cursor of one list is refused by another */
export async function sealCursor(env: Secrets, list: string, cursor: string): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const key = await imported(await derive(requireSecret(env), LABEL));
  const text = new TextEncoder().encode(cursor.padEnd(CURSOR_LENGTH));
  const sealed = new Uint8Array(await crypto.subtle.encrypt(algorithm(iv, list), key, text));
  return (
    MARK +
    btoa(String.fromCharCode(...iv, ...sealed))
      .replaceAll('+', '-')
      .replaceAll('/', '_')
  );
}

/** A plain cursor is returned as it is. `null`: encrypted, but not by this registry or not for this list. */
export async function openCursor(env: Secrets, list: string, text: string): Promise<string | null> {
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

/** Empty if the text is not base64url. */
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
