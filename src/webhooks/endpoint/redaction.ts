/** An endpoint may send back what it was sent: what is a secret of that is not shown again, in whatever way it is written. Pure. */

/** Shorter ones are found everywhere. */
const SECRET_MIN = 4;

/** @param secrets whole values; their words count as well, and what follows the prefix of a signing secret */
export function redacted(text: string, secrets: readonly string[]): string {
  const words = secrets.flatMap((value) => [value, value.replace(/^whsec_/, ''), ...value.split(/\s+/)]);
  const known = words.flatMap(spellings);
  const hidden = [...new Set(known)].filter((value) => value.length >= SECRET_MIN).sort((a, b) => b.length - a.length);
  return hidden.reduce((all, value) => all.replaceAll(value, '***'), withoutBeginning(text, hidden));
}

/** As they are; in a URL; in JSON, of which some write a slash with a backslash; in HTML. */
function spellings(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const html = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
  return [value, encodeURIComponent(value), json, json.replaceAll('/', '\\/'), html];
}

/** What was read may end in the middle of one. */
function withoutBeginning(text: string, hidden: readonly string[]): string {
  const cut = hidden.map((value) => {
    for (let length = Math.min(value.length - 1, text.length); length >= SECRET_MIN; length--) {
      if (text.endsWith(value.slice(0, length))) return length;
    }
    return 0;
  });
  return text.slice(0, text.length - Math.max(0, ...cut));
}
