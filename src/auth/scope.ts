/**
 * Scopes of the token protocol, `repository:name:pull,push` (distribution, "Token Scope Documentation"), to and from
 * text, and what they mean in the registry's own actions. Pure.
 */
import { isRepositoryName } from '../oci/name.ts';

/** What one may do. `retag` moves an existing tag; `catalog` lists the registry's repositories. */
export type Action = 'pull' | 'push' | 'retag' | 'create' | 'delete' | 'admin' | 'catalog';

/** A resource and what may be done to it; how a token carries rights. */
export interface Grant {
  type: 'repository' | 'registry';
  name: string;
  actions: Action[];
}

/** Clients know only `pull`, `push`, `delete` and `*`: who asks to push means all that a push may need. */
const MEANING: Record<Grant['type'], Map<string, Action[]>> = {
  repository: new Map<string, Action[]>([
    ['pull', ['pull']],
    ['push', ['push', 'retag', 'create']],
    ['delete', ['delete']],
    ['*', ['pull', 'push', 'retag', 'create', 'delete', 'admin']],
  ]),
  registry: new Map<string, Action[]>([['*', ['catalog']]]),
};

/** More than any client asks for; a flood is not parsed. */
export const MAX_SCOPES = 100;

/** What cannot be granted by any right is left out: the protocol answers with the intersection, not with an error. */
export function parseScopes(texts: string[]): Grant[] {
  return texts
    .flatMap((text) => text.split(' '))
    .filter((text) => text !== '')
    .flatMap((text) => parseScope(text) ?? []);
}

function parseScope(text: string): Grant | null {
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first < 0 || first === last) return null;
  const type = text.slice(0, first);
  const name = text.slice(first + 1, last);
  if (type !== 'repository' && type !== 'registry') return null;
  if (type === 'registry' ? name !== 'catalog' : !isRepositoryName(name)) return null;
  const wanted = text.slice(last + 1).split(',');
  const actions = new Set(wanted.flatMap((word) => MEANING[type].get(word) ?? []));
  return { type, name, actions: [...actions] };
}

/** What a client has to ask for to be allowed `action`; for the challenge. */
export function scopeFor(action: Action, repository: string): string {
  if (action === 'catalog') return 'registry:catalog:*';
  const wire: Partial<Record<Action, string>> = { pull: 'pull', push: 'pull,push', retag: 'pull,push', create: 'pull,push' };
  return `repository:${repository}:${wire[action] ?? (action === 'delete' ? 'delete' : '*')}`;
}

/** A grant as a client of the protocol reads it. */
export function formatGrant({ type, name, actions }: Grant): string {
  const words = type === 'registry' ? ['*'] : actions.filter((action) => action !== 'retag' && action !== 'create');
  return `${type}:${name}:${words.join(',')}`;
}
