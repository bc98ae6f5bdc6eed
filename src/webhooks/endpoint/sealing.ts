/**
 * The endpoint of a webhook: a URL and custom headers. Either may hold a credential, so both are stored encrypted, and only the
 * parts that cannot be secret are shown.
 */
import { decrypt, encrypt, type Secrets } from '../../secrets.ts';

export interface Endpoint {
  url: string;
  headers: Record<string, string>;
}

const LABEL = 'subscription-endpoint';

/** @param id of the subscription: the ciphertext of one cannot be used for another */
export async function seal(env: Secrets, id: string, endpoint: Endpoint): Promise<string> {
  return btoa(String.fromCharCode(...(await encrypt(env, LABEL, id, JSON.stringify(endpoint)))));
}

/** `null`: encrypted with a secret of the registry that is neither the current nor the previous one. */
export async function unseal(env: Secrets, id: string, text: string): Promise<Endpoint | null> {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const opened = await decrypt(env, LABEL, id, bytes);
  return opened === null ? null : (JSON.parse(opened) as Endpoint);
}

/** The URL without its query, which may be a credential. Of Slack the path is one too (`pathIsSecret`). */
export function shownUrl({ url }: Endpoint, pathIsSecret: boolean): string {
  const { origin, pathname, search } = new URL(url);
  if (pathIsSecret) return `${origin}/…`;
  return search === '' ? `${origin}${pathname}` : `${origin}${pathname}?…`;
}
