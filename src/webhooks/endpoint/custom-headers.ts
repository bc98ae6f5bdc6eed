/**
 * Checks the custom headers of a webhook, such as `Authorization`. Pure. Any owner of a webhook sets them, so they must not change where
 * a delivery goes, how its body is read, whom it seems to come from, or what it is signed with.
 */

const MAX_HEADERS = 20;
const NAME_MAX_LENGTH = 100;
const VALUE_MAX_LENGTH = 2000;

/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Visible ASCII, with spaces and tabs between. Receivers disagree on the other characters of RFC 9110, section 5.5. */
const VALUE = /^(?:[!-~](?:[\t -~]*[!-~])?)?$/;

/** Refused names. An entry that ends with a hyphen is a prefix. */
const REFUSED = new Set([
  // Routing and framing: these belong to the connection, not to the message (RFC 9110, section 7.6.1; RFC 9112).
  ...['host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'proxy-', 'te', 'trailer', 'upgrade'],
  ...['expect', 'http2-settings', 'max-forwards', 'early-data', 'alt-used', 'alt-svc'],
  // The body and how it is negotiated: set by the format.
  ...['content-', 'accept-encoding', 'accept-charset', 'range', 'if-', 'date', 'user-agent'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override', 'x-original-', 'x-rewrite-'],
  // The sender: written by proxies, and trusted by what is behind them.
  ...['via', 'forwarded', 'x-forwarded-', 'x-real-ip', 'x-client-ip', 'x-cluster-client-ip', 'true-client-ip', 'cf-'],
  // Internal headers of the local emulator.
  'mf-',
  // Cloudflare's loop detection, which must see every round (RFC 8586).
  'cdn-loop',
  // Headers of browsers, which fetch forbids to scripts (Fetch, "forbidden request-header"). A cookie is a person's session; no
  // receiver of webhooks asks for one.
  ...['cookie', 'cookie2', 'set-cookie', 'set-cookie2', 'sec-', 'origin', 'referer', 'dnt', 'access-control-'],
  // Headers that the registry sets: Standard Webhooks, CloudEvents, HTTP message signatures (RFC 9421), GitHub's, and its own.
  ...['webhook-', 'ce-', 'signature', 'signature-', 'x-hub-signature', 'x-hub-signature-', 'x-signature', 'x-signature-'],
  ...['berth-', 'x-berth-'],
]);

/** Says what is wrong with the first header that is refused; `null`: nothing. Names no value, which may be secret. */
export function refusalOfHeaders(headers: Record<string, string>): string | null {
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) return `there may be up to ${MAX_HEADERS} headers`;
  const seen = new Set<string>();
  for (const [name, value] of entries) {
    const refusal = refusalOfName(name) ?? refusalOfValue(name, value);
    if (refusal) return refusal;
    if (seen.has(name.toLowerCase())) return `the header "${name}" is given more than once`;
    seen.add(name.toLowerCase());
  }
  return null;
}

function refusalOfName(name: string): string | null {
  if (name.length > NAME_MAX_LENGTH) return `the name of a header has up to ${NAME_MAX_LENGTH} characters`;
  if (!TOKEN.test(name)) return "the name of a header has letters, digits and any of !#$%&'*+-.^_`|~ only, and at least one";
  return isRefused(name) ? `the header "${name}" is not for a webhook's owner to set` : null;
}

/** An underscore counts as a hyphen, because CGI does not tell them apart (RFC 3875, section 4.1.18). */
function isRefused(given: string): boolean {
  const name = given.toLowerCase().replaceAll('_', '-');
  const beginnings = Array.from(name.matchAll(/-/g), ({ index }) => name.slice(0, index + 1));
  return [name, ...beginnings].some((beginning) => REFUSED.has(beginning));
}

function refusalOfValue(name: string, value: string): string | null {
  if (value.length > VALUE_MAX_LENGTH) return `the value of "${name}" has more than ${VALUE_MAX_LENGTH} characters`;
  if (VALUE.test(value)) return null;
  return `the value of "${name}" has characters beyond visible ASCII, or a space at an end`;
}
