/** The actions that a policy statement can allow or deny. */

/** `push` allows to add content and new tags. `retag` allows to move an existing tag to another manifest. */
export const ACTIONS = ['pull', 'push', 'retag', 'delete', 'admin', 'create'] as const;
export type RepositoryAction = (typeof ACTIONS)[number];

/** The named sets of actions that users can choose from. */
export const PRESETS = {
  'pull only': ['pull'],
  'push and pull': ['pull', 'push', 'retag'],
  'all actions': [...ACTIONS],
} as const satisfies Record<string, readonly RepositoryAction[]>;
export type Preset = keyof typeof PRESETS;

/**
 * The actions that a statement can limit to some tags. `pull` is not one of them, because a tagged image can also
 * be pulled by its digest.
 */
export const TAG_ACTIONS: readonly RepositoryAction[] = ['push', 'retag', 'delete'];
