/** The actions that a policy statement can allow or deny. */

/** `retag` moves an existing tag; `push` adds content and new tags. */
export const ACTIONS = ['pull', 'push', 'retag', 'delete', 'admin', 'create'] as const;
export type RepositoryAction = (typeof ACTIONS)[number];

/** The usual sets of actions, by name. */
export const PRESETS = {
  'pull only': ['pull'],
  'push and pull': ['pull', 'push', 'retag'],
  'all actions': [...ACTIONS],
} as const satisfies Record<string, readonly RepositoryAction[]>;
export type Preset = keyof typeof PRESETS;

/** Actions that can be limited to some tags. Not `pull`: a tagged image can be pulled by its digest as well. */
export const TAG_ACTIONS: readonly RepositoryAction[] = ['push', 'retag', 'delete'];
