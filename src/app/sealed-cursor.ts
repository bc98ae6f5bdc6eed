/**
 * Encrypted pagination cursors, for pages that end at a name that the caller may not see. All cursors have the same length, so
 * that the length of a cursor does not reveal the length of the name.
 */
import { decrypt, encrypt, type Secrets } from '../secrets.ts';

const LABEL = 'place-in-list';
/** The number of characters of a cursor before encryption: more than the longest name with a number behind it. */
const CURSOR_LENGTH = 288;
/** The first character of an encrypted cursor. No plain cursor begins with it, because no name does. */
const MARK = '~';

/** Encrypts a cursor. @param list the name of the list. The cursor cannot be used for another list */
export async function sealCursor(env: Secrets, list: string, cursor: string): Promise<string> {
  const sealed = await encrypt(env, LABEL, list, cursor.padEnd(CURSOR_LENGTH));
  return (
    MARK +
    btoa(String.fromCharCode(...sealed))
      .replaceAll('+', '-')
      .replaceAll('/', '_')
  );
}

/**
 * Decrypts a cursor. A plain cursor is returned unchanged.
 * @returns `null` if the cursor was not encrypted by this registry, or not for this list
 */
export async function openCursor(env: Secrets, list: string, text: string): Promise<string | null> {
  if (!text.startsWith(MARK)) return text;
  return (await decrypt(env, LABEL, list, bytesOf(text.slice(MARK.length))))?.trimEnd() ?? null;
}

/** Decodes base64url. Returns no bytes if the text is not base64url. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[\w-]+=*$/.test(text) || text.length % 4 !== 0) return new Uint8Array();
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));
}
