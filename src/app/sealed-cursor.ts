/**
 * Encrypted pagination cursors, for pages that end at a name that the caller may not see. All encrypted cursors have the same
 * length, so that the length does not reveal the length of the name.
 */
import { decrypt, encrypt, type Secrets } from '../secrets.ts';

const LABEL = 'place-in-list';
/** The number of characters of a cursor before encryption: more than the longest name followed by a number. */
const CURSOR_LENGTH = 288;
/** The first character of an encrypted cursor. No plain cursor begins with it, because no name does. */
const MARK = '~';

/** Encrypts a cursor. @param list the name of the list. The cursor is not valid for another list */
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
 * Decrypts a cursor. Returns a plain cursor unchanged. @returns `null` if the cursor was not encrypted by this registry or is
 * for another list
 */
export async function openCursor(env: Secrets, list: string, text: string): Promise<string | null> {
  if (!text.startsWith(MARK)) return text;
  return (await decrypt(env, LABEL, list, bytesOf(text.slice(MARK.length))))?.trimEnd() ?? null;
}

/** Decodes base64url. Returns an empty array if the text is no base64url. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[\w-]+=*$/.test(text) || text.length % 4 !== 0) return new Uint8Array();
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));
}
