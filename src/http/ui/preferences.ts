/** The reader's preferences for the console: its colours, and whether keyboard shortcuts work. Both are stored in cookies. */
import { originOf, type RequestContext } from '../context.ts';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const THEME = 'berth-theme';
/** The console's script reads this cookie too. */
const KEYS = 'berth-keys';

/** One year in seconds. */
const LIFETIME = 365 * 24 * 60 * 60;

function cookieOf(c: RequestContext, name: string): string | undefined {
  const sent = (c.req.header('cookie') ?? '').split(';').map((pair) => pair.trim());
  return sent.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** Returns the colours that the reader has chosen. */
export function themeOf(c: RequestContext): Theme {
  const value = cookieOf(c, THEME);
  return THEMES.find((theme) => theme === value) ?? 'system';
}

/** Returns true unless the reader has switched the keyboard shortcuts off. */
export function hasKeys(c: RequestContext): boolean {
  return cookieOf(c, KEYS) !== 'off';
}

/** Adds the cookies of these preferences to an answer. They are not secret, and the console's script may read them. */
export function setPreferences(c: RequestContext, headers: Headers, { theme, keys }: { theme: Theme; keys: boolean }): void {
  const secure = originOf(c).startsWith('https:') ? '; Secure' : '';
  for (const [name, value] of [
    [THEME, theme],
    [KEYS, keys ? 'on' : 'off'],
  ]) {
    headers.append('set-cookie', `${name}=${value}; Path=/; SameSite=Lax; Max-Age=${LIFETIME}${secure}`);
  }
}
