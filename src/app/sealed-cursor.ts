/**
 * Encrypted pagination cursors, for pages that end at a name the caller may not see. All have the same length, so the length
 * tells nothing either.
 */
import { decrypt, encrypt, type Secrets } from '../secrets.ts';

const LABEL = 'place-in-list';
/** Characters: more than the longest name with a number behind it. */
const CURSOR_LENGTH = 288;
/** The first character of an encrypted cursor. No name begins with it. */
const MARK = '~';

/** @param list the name of the list: a cursor of one list is refused by another */
export async function sealCursor(env: Secrets, list: string, cursor: string): Promise<string> {
  const sealed = await encrypt(env, LABEL, list, cursor.padEnd(CURSOR_LENGTH));
  return (
    MARK +
    btoa(String.fromCharCode(...sealed))
      .replaceAll('+', '-')
      .replaceAll('/', '_')
  );
}

/** A plain cursor is returned as it is. `null`: encrypted, but not by this registry or not for this list. */
export async function openCursor(env: Secrets, list: string, text: string): Promise<string | null> {
  if (!text.startsWith(MARK)) return text;
  return (await decrypt(env, LABEL, list, bytesOf(text.slice(MARK.length))))?.trimEnd() ?? null;
}

/** Empty if the text is not base64url. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[\w-]+=*$/.test(text) || text.length % 4 !== 0) return new Uint8Array();
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));
}
