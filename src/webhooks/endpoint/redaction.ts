/** Hides secrets in the answer of an endpoint, which may echo what it was sent. Finds them in several encodings. Pure. */

/** A shorter secret would match everywhere. */
const SECRET_MIN = 4;

/** @param secrets whole values; their words are hidden too, and signing secrets without their prefix */
export function redacted(text: string, secrets: readonly string[]): string {
  const words = secrets.flatMap((value) => [value, value.replace(/^whsec_/, ''), ...value.split(/\s+/)]);
  const known = words.flatMap(spellings);
  const hidden = [...new Set(known)].filter((value) => value.length >= SECRET_MIN).sort((a, b) => b.length - a.length);
  return hidden.reduce((all, value) => all.replaceAll(value, '***'), withoutBeginning(text, hidden));
}

/** The value as it is, in a URL, in JSON (some encoders escape slashes), and in HTML. */
function spellings(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const html = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
  return [value, encodeURIComponent(value), json, json.replaceAll('/', '\\/'), html];
}

/** Cuts off the beginning of a secret at the end of the text: the answer may have been read up to the middle of one. */
function withoutBeginning(text: string, hidden: readonly string[]): string {
  const cut = hidden.map((value) => {
    for (let length = Math.min(value.length - 1, text.length); length >= SECRET_MIN; length--) {
      if (text.endsWith(value.slice(0, length))) return length;
    }
    return 0;
  });
  return text.slice(0, text.length - Math.max(0, ...cut));
}
