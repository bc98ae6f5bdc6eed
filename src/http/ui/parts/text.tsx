/** Small parts that show values as text: sizes, times, digests, commands, and names of people. */
import { raw } from 'hono/html';
import type { FC } from 'hono/jsx';

const UNITS = ['kB', 'MB', 'GB', 'TB', 'PB'];

/** Returns a number of bytes with a unit (of 1,000), for example `41.2 MB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = -1;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString('en')} ${UNITS[unit] ?? 'B'}`;
}

/** A number of bytes with a unit. The exact number is in the title. */
export const Bytes: FC<{ value: number | null }> = ({ value }) =>
  value === null ? (
    <span title="Not known yet">—</span>
  ) : (
    <span title={`${value.toLocaleString('en')} bytes`}>{bytesText(value)}</span>
  );

export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Returns a date in UTC, for example `3 Oct 2026`. @param time milliseconds since the epoch */
export function dateText(time: number): string {
  const date = new Date(time);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

/** A time, in seconds since the epoch. The console's script makes it relative, for example `2 hours ago`. */
export const When: FC<{ at: number | null; none?: string }> = ({ at, none = 'never' }) => {
  if (at === null) return <span>{none}</span>;
  const iso = new Date(at * 1000).toISOString();
  const exact = `${dateText(at * 1000)}, ${iso.slice(11, 16)} UTC`;
  return (
    <time datetime={iso} title={exact} data-relative>
      {exact}
    </time>
  );
};

/** A day, in days since the epoch. */
export const Day: FC<{ day: number | null; none?: string }> = ({ day, none = 'never' }) => {
  if (day === null) return <span>{none}</span>;
  const time = day * 86_400_000;
  return <time datetime={new Date(time).toISOString().slice(0, 10)}>{dateText(time)}</time>;
};

/** The number of characters of a digest's hexadecimal part that lists show. */
const SHOWN = 12;

/** A shortened digest, with a button that copies the whole digest. */
export const Digest: FC<{ digest: string; href?: string }> = ({ digest, href }) => {
  const [algorithm = '', hex = ''] = digest.split(':');
  const short = `${algorithm}:${hex.slice(0, SHOWN)}`;
  return (
    <span class="digest">
      {href === undefined ? (
        <code title={digest}>{short}</code>
      ) : (
        <a href={href}>
          <code title={digest}>{short}</code>
        </a>
      )}
      <CopyButton text={digest} label={`Copy ${short}`} />
    </span>
  );
};

/** A button that copies a text. It is hidden until the console's script runs. */
export const CopyButton: FC<{ text: string; label: string; words?: string }> = ({ text, label, words }) => (
  <button type="button" class={words === undefined ? 'copy icon-only' : 'copy'} data-copy={text} aria-label={label} hidden>
    <Icon name="copy" />
    {words === undefined ? null : <span>{words}</span>}
  </button>
);

/** One or more shell commands, with a button that copies them. */
export const Command: FC<{ command: string; label?: string }> = ({ command, label = 'Copy the command' }) => (
  <div class="command">
    <pre tabindex={0}>
      <code>{command}</code>
    </pre>
    <CopyButton text={command} label={label} words="Copy" />
  </div>
);

/**
 * A text from a person or an image. Control characters are shown as symbols, and text with another direction cannot affect the
 * text around it.
 */
export const Foreign: FC<{ text: string; max?: number }> = ({ text, max }) => <bdi>{visible(text, max)}</bdi>;

/** The maximum number of characters of such a text on a page. */
const FOREIGN_MAX = 2000;

/** Replaces control characters and characters that change the text direction by visible symbols, and shortens long texts. */
export function visible(text: string, max = FOREIGN_MAX): string {
  const shown = text.length > max ? `${text.slice(0, max)}…` : text;
  // ASCII control characters have pictures from U+2400 on. All others become U+241B, the picture of "escape".
  return shown.replaceAll(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (char) =>
    char === '\n' ? '\n' : char < ' ' ? String.fromCharCode(0x2400 + char.charCodeAt(0)) : '\u241b',
  );
}

/** A user, robot, team or CI rule. The kind is left out for users. */
export const Principal: FC<{ subject: string; key?: string | null }> = ({ subject, key }) => {
  const [kind = '', name = ''] = subject.split(/:(.*)/s);
  const shown = kind === 'user' ? name : `${kind === 'ci' ? 'CI rule' : kind} ${name}`;
  return <span title={key ? `with the access key ${key}` : undefined}>{subject === '' ? 'somebody' : shown}</span>;
};

/** A word about a thing, such as its visibility. The text has the meaning; the colour only repeats it. */
export const Chip: FC<{ tone?: 'plain' | 'good' | 'warn' | 'bad'; title?: string; children?: unknown }> = ({
  tone = 'plain',
  title,
  children,
}) => (
  <span class={`chip ${tone}`} title={title}>
    {children}
  </span>
);

/** A bar that shows a share of a whole. Pages must show the numbers beside it. @param share from 0 to 1 */
export const Bar: FC<{ share: number; label: string }> = ({ share, label }) => (
  <svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={label}>
    <rect class="part" width={String(Math.round(Math.min(1, Math.max(0, share)) * 1000) / 10)} height="8" />
  </svg>
);

/** Paths of Lucide icons (ISC License), drawn with a stroke of 1.5 in a box of 24. */
const ICONS = {
  copy: '<rect x="8" y="8" width="13" height="13" rx="2"/><path d="M4 16c-1 0-2-1-2-2V4c0-1 1-2 2-2h10c1 0 2 1 2 2"/>',
  lock: '<rect x="3" y="11" width="18" height="11" rx="2"/><path d="M7 11V7a5 5 0 0 1 10 0v4"/>',
  search: '<circle cx="11" cy="11" r="8"/><path d="m21 21-4.3-4.3"/>',
  star: '<path d="m12 2 3.1 6.3 6.9 1-5 4.9 1.2 6.8-6.2-3.2L5.8 21 7 14.2 2 9.300l6.900-1z"/>',
  down: '<path d="m6 9 6 6 6-6"/>',
  check: '<path d="M20 6 9 17l-5-5"/>',
  cross: '<path d="M18 6 6 18M6 6l12 12"/>',
  warn: '<path d="M12 3 2 20h20zM12 10v4M12 17.500v.5"/>',
} as const;

export const Icon: FC<{ name: keyof typeof ICONS }> = ({ name }) => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
    {raw(ICONS[name])}
  </svg>
);
