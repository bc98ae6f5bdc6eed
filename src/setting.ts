/**
 * The kinds of settings. A kind defines how the text of a setting is parsed and checked, and how the documentation describes
 * the values.
 */

export interface Setting<T = unknown> {
  /**
   * Where the setting can be used. `tests` marks a setting that only tests change: the documentation leaves it out, and `npm
   * start` ignores it.
   */
  where: 'everywhere' | 'npm start' | 'tests';
  /** The accepted values, in words for the documentation. */
  values: string;
  /** The default, in words for the documentation. */
  fallback: string;
  about: string;
  /**
   * Parses the text of the setting.
   * @param given all settings as text, because the default of one setting may depend on another setting
   * @throws Error whose message says what is wrong with the value
   */
  read: (value: string | undefined, given: Record<string, string | undefined>) => T;
}

/** One day in seconds. */
export const DAY = 24 * 60 * 60;
/** The maximum number of days, ten years. It is longer than any useful lifetime and short enough for date arithmetic. */
const MAX_DAYS = 3650;
const MAX_BUDGET = 1_000_000_000;

export function choice<T extends string>(fallback: T, allowed: readonly T[], about: string): Setting<T> {
  const read = (value: string | undefined) => oneOf(value, allowed) ?? fallback;
  return { where: 'everywhere', values: allowed.map(quoted).join(', '), fallback: quoted(fallback), about, read };
}

export function flag(fallback: 'on' | 'off', about: string): Setting<boolean> {
  const { read, ...rest } = choice(fallback, ['on', 'off'], about);
  return { ...rest, read: (value, given) => read(value, given) === 'on' };
}

export function days(fallback: number, least: number, about: string): Setting<number> {
  return { ...integer(fallback, least, MAX_DAYS, 'everywhere', about), values: `days, ${least} to ${MAX_DAYS}` };
}

export function seconds(fallback: number, least: number, where: Setting['where'], about: string): Setting<number> {
  const most = MAX_DAYS * DAY;
  return { ...integer(fallback, least, most, where, about), values: `seconds, ${least} to ${most}` };
}

export function integer(
  fallback: number,
  least: number,
  most: number,
  where: Setting['where'],
  about: string,
): Setting<number> {
  const read = (value: string | undefined) => {
    if (value === undefined) return fallback;
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= least && number <= most)) throw new Error(`a whole number from ${least} to ${most}`);
    return number;
  };
  return { where, values: `${least} to ${most}`, fallback: quoted(String(fallback)), about, read };
}

/**
 * A daily budget of the background jobs (`src/background/budget.ts`). The default is a fifth of the free plan's daily limit. 0
 * means no limit.
 */
export function budget(fallback: number, about: string): Setting<number> {
  const setting = integer(fallback, 0, MAX_BUDGET, 'everywhere', about);
  return {
    ...setting,
    values: `${setting.values}; 0: no limit`,
    fallback: `${setting.fallback}; no limit under \`npm start\``,
  };
}

export function origin(about: string): Setting<string | null> {
  const read = (value: string | undefined) => {
    if (value === undefined) return null;
    const url = URL.canParse(value) ? new URL(value) : null;
    const plain = url && /^https?:$/.test(url.protocol) && [url.origin, `${url.origin}/`].includes(url.href);
    if (!plain) throw new Error('an origin, as https://registry.example.com, without a path');
    return url.origin;
  };
  return { where: 'everywhere', values: 'an origin', fallback: 'the address of the request', about, read };
}

/** The issuer identifier of an OpenID Connect provider (OpenID Connect Discovery 1.0, section 2). */
export function issuer(about: string): Setting<string | null> {
  const read = (value: string | undefined) => {
    if (value === undefined) return null;
    const url = URL.parse(value);
    const isPlain =
      url !== null && /^https?:$/.test(url.protocol) && [url.origin, url.href].includes(value) && !/[?#]/.test(value);
    if (!isPlain) throw new Error('an address, as https://login.example.com, without a query');
    return value;
  };
  return { where: 'everywhere', values: 'an address', fallback: 'none', about, read };
}

/** A setting with a short text. It may be missing. */
export function optional(about: string): Setting<string | null> {
  const read = (value: string | undefined) => {
    if (value !== undefined && !/^\P{Cc}{1,200}$/u.test(value)) throw new Error('a text of up to 200 characters on one line');
    return value ?? null;
  };
  return { where: 'everywhere', values: 'text', fallback: 'none', about, read };
}

export function text(fallback: string, about: string): Setting<string> {
  return { where: 'npm start', values: 'text', fallback: quoted(fallback), about, read: (value) => value ?? fallback };
}

export function secret(minLength: number, fallback: string, about: string): Setting<string | null> {
  const read = (value: string | undefined) => {
    if (value !== undefined && [...value].length < minLength) throw new Error(`${minLength} characters or more`);
    return value ?? null;
  };
  return { where: 'everywhere', values: `${minLength} characters or more`, fallback, about, read };
}

/** Returns the value, or `undefined` if none is given. @throws Error if the value is not allowed */
export function oneOf<T extends string>(value: string | undefined, allowed: readonly T[]): T | undefined {
  const found = allowed.find((candidate) => candidate === value);
  if (value !== undefined && !found) throw new Error(`one of ${allowed.join(', ')}`);
  return found;
}

function quoted(value: string): string {
  return `\`${value}\``;
}
