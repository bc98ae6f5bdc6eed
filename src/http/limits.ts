/** Floods: what is counted, by whom, and the 429 that answers them (RFC 6585, section 4). Never a secret in a key. */
import type { Env } from '../env.ts';
import { RegistryError } from '../oci/errors.ts';
import type { RequestContext } from './context.ts';

/** Seconds over which the bindings of wrangler.toml count. */
const PERIOD = 60;

/** Wrong credentials from one address. Right ones are never refused for the wrong ones before them: nobody is locked out. */
export function limitWrongPasswords(c: RequestContext): Promise<void> {
  return limit(c.env.WRONG_PASSWORDS, addressOf(c), 'too many wrong passwords from this address');
}

export function limitTokenRequests(c: RequestContext, subject: string): Promise<void> {
  return limit(c.env.TOKEN_REQUESTS, `${subject} ${addressOf(c)}`, 'too many requests for tokens');
}

export function limitUploadStarts(c: RequestContext, subject: string): Promise<void> {
  return limit(c.env.UPLOAD_STARTS, subject, 'too many uploads begun');
}

/** Whoever tests a webhook has the registry ask an address of theirs, and learns whether it answers. */
export function limitTestDeliveries(c: RequestContext, webhook: string): Promise<void> {
  return limit(c.env.TEST_DELIVERIES, webhook, 'too many tests of this webhook');
}

/** Cloudflare writes this header itself. On a laptop there is none: everybody there is one. */
function addressOf(c: RequestContext): string {
  return c.req.header('cf-connecting-ip') ?? 'local';
}

/** @throws TOOMANYREQUESTS */
async function limit(binding: Env['WRONG_PASSWORDS'], key: string, message: string): Promise<void> {
  if (!binding || (await binding.limit({ key })).success) return;
  throw new RegistryError('TOOMANYREQUESTS', {
    message: `${message}: wait a minute`,
    headers: { 'retry-after': String(PERIOD) },
  });
}
