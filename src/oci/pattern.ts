/** Patterns of names of repositories and tags, as statements and subscriptions have them: `*` for any run of characters. */
import { isRepositoryName } from './name.ts';

/** A repository's name, or one with `*`, which may stand anywhere. */
export function isRepositoryPattern(text: string): boolean {
  return text.length <= 255 && /^[a-z0-9._/*-]+$/.test(text) && (text.includes('*') || isRepositoryName(text));
}

/** The same for tags. */
export function isTagPattern(text: string): boolean {
  return text.length <= 128 && /^[A-Za-z0-9_*][A-Za-z0-9._*-]*$/.test(text);
}

/** `*` stands for any run of characters, `/` included. */
export function matches(pattern: string, text: string): boolean {
  return matcherOf(pattern)(text);
}

/** The same for many texts. Takes the leftmost place for each part, so it never goes back: time grows with the text's length alone. */
export function matcherOf(pattern: string): (text: string) => boolean {
  const [first = '', ...parts] = pattern.split('*');
  const last = parts.pop();
  if (last === undefined) return (text) => text === pattern;
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    const end = text.length - last.length;
    let from = first.length;
    for (const part of parts) {
      const at = text.indexOf(part, from);
      if (at < 0 || at + part.length > end) return false;
      from = at + part.length;
    }
    return true;
  };
}
