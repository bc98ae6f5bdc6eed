/** Shows principals and rights in words, and who gains or loses rights by a change. */
import type { FC } from 'hono/jsx';
import { Empty, Table } from './table.tsx';
import { Chip } from './text.tsx';

/** Returns a principal in words: `alice`, `team acme/dev`, `everybody`. */
export function principalText(principal: string): string {
  const [kind = '', name = ''] = principal.split(/:(.*)/s);
  if (principal === '*') return 'everybody';
  if (!principal.includes(':')) return principal;
  if (kind === 'user') return name;
  if (kind === 'organization') return `members of ${name}`;
  return `${kind === 'ci' ? 'trust rule' : kind} ${name}`;
}

const ACTION_TEXTS: Record<string, string> = {
  pull: 'pull',
  push: 'push',
  retag: 'move tags',
  delete: 'delete',
  admin: 'administer',
  create: 'create',
};

/** Returns an action with the tags to which it is limited, for example `push v*`. */
export function rightText({ action, tags }: { action: string; tags?: readonly string[] }): string {
  const text = ACTION_TEXTS[action] ?? action;
  return tags === undefined ? text : `${text} ${tags.join(', ')}`;
}

interface Right {
  action: string;
  tags?: string[];
}

interface Difference {
  principal: string;
  gains: readonly Right[];
  loses: readonly Right[];
}

/** A list of rights that somebody gains or loses. */
export const Rights: FC<{ tone: 'good' | 'bad'; rights: readonly Right[] }> = ({ tone, rights }) => (
  <span class="chips">
    {rights.length === 0 ? <span class="soft">nothing</span> : null}
    {rights.map((right) => (
      <Chip tone={tone}>{rightText(right)}</Chip>
    ))}
  </span>
);

/**
 * A table of who would gain and lose which rights. @param truncated true if the comparison is incomplete, because one request
 * compares only a limited number of rights
 */
export const Differences: FC<{ changes: readonly Difference[]; truncated: boolean }> = ({ changes, truncated }) => (
  <>
    {changes.length === 0 ? (
      <Empty title="Nobody gains or loses a right" />
    ) : (
      <Table
        caption="Who gains and who loses rights"
        columns={[
          { head: 'Who', cell: ({ principal }) => <span class="strong">{principalText(principal)}</span> },
          { head: 'Gains', cell: ({ gains }) => <Rights tone="good" rights={gains} /> },
          { head: 'Loses', cell: ({ loses }) => <Rights tone="bad" rights={loses} /> },
        ]}
        items={changes}
      />
    )}
    {truncated ? <p class="hint">The list is not complete: there is more to compare than one request may.</p> : null}
  </>
);
