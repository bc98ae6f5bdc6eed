/** Tokens of pages: places in a list, as text without white space. They hold no secret, and each page checks the rights. */
import type * as z from 'zod';
import { jsonOf } from '../../oci/json.ts';
import { invalidParameter } from './validation.ts';

/** Encodes a place as base64url of its JSON. */
export function writeToken(place: object): string {
  const bytes = new TextEncoder().encode(JSON.stringify(place));
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Decodes a place. @throws InvalidParameterException if the token is not one of this list */
export function readToken<S extends z.ZodType>(schema: S, token: string): z.output<S> {
  const place = schema.safeParse(jsonOf(decoded(token)));
  if (place.success) return place.data;
  throw invalidParameter('nextToken', 'must be the nextToken of the previous page');
}

function decoded(token: string): string {
  try {
    const text = atob(token.replaceAll('-', '+').replaceAll('_', '/'));
    return new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0)));
  } catch {
    return '';
  }
}
