/**
 * Scopes of the token protocol, `repository:name:pull,push` (distribution, "Token Scope Documentation"), to and from
 * text, and what they mean in the registry's own actions. Pure.
 */
import { isRepositoryName } from '../oci/name.ts';

/** What a token can carry. Whether a push may move a tag or make a repository is asked when it comes. */
export type Action = 'pull' | 'push' | 'delete' | 'admin' | 'catalog';

/** A resource and what may be done to it; how a token carries rights. */
export interface Grant {
  type: 'repository' | 'registry';
  name: string;
  actions: Action[];
}

/** Clients know only `pull`, `push`, `delete` and `*`. */
const MEANING: Record<Grant['type'], Map<string, Action[]>> = {
  repository: new Map<string, Action[]>([
    ['pull', ['pull']],
    ['push', ['push']],
    ['delete', ['delete']],
    ['*', ['pull', 'push', 'delete', 'admin']],
  ]),
  registry: new Map<string, Action[]>([['*', ['catalog']]]),
};

/** More than any client asks for; a flood is not parsed. */
export const MAX_SCOPES = 100;

/** Scopes one by one, whatever space is between them. */
export function wordsOf(texts: string[]): string[] {
  return texts.flatMap((text) => text.split(/\s+/)).filter((word) => word !== '');
}

/**
 * What cannot be granted by any right is left out: the protocol answers with the intersection, not with an error.
 * @param service host and port of this registry: a scope may have it before the name
 */
export function parseScopes(texts: string[], service = ''): Grant[] {
  const grants = wordsOf(texts).flatMap((text) => parseScope(text, service) ?? []);
  const byResource = Map.groupBy(grants, ({ type, name }) => `${type}:${name}`);
  return [...byResource.values()].map((same) => ({
    ...(same[0] as Grant),
    actions: [...new Set(same.flatMap(({ actions }) => actions))],
  }));
}

/** A type may have a class, `repository(plugin)`, that means nothing any more (distribution, "Resource Class"). */
const TYPE = /^(repository|registry)(?:\([a-z0-9]+\))?$/;

function parseScope(text: string, service: string): Grant | null {
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first < 0 || first === last) return null;
  const type = TYPE.exec(text.slice(0, first))?.[1] as Grant['type'] | undefined;
  if (type === undefined) return null;
  const name = withoutHost(text.slice(first + 1, last), service);
  if (type === 'registry' ? name !== 'catalog' : !isRepositoryName(name)) return null;
  const wanted = text.slice(last + 1).split(',');
  const actions = new Set(wanted.flatMap((word) => MEANING[type].get(word) ?? []));
  return { type, name, actions: [...actions] };
}

/** A host with a port is no part of a name. One without could be: `registry.example.com/app` is a name like any other. */
function withoutHost(name: string, service: string): string {
  return service.includes(':') && name.startsWith(`${service}/`) ? name.slice(service.length + 1) : name;
}

/** What a client has to ask for to be allowed `action`; for the challenge. */
export function scopeFor(action: Action, repository: string): string {
  if (action === 'catalog') return 'registry:catalog:*';
  const wire = { pull: 'pull', push: 'pull,push', delete: 'delete', admin: '*' };
  return `repository:${repository}:${wire[action]}`;
}

/** A grant as a client of the protocol reads it. */
export function formatGrant({ type, name, actions }: Grant): string {
  return `${type}:${name}:${(type === 'registry' ? ['*'] : actions).join(',')}`;
}
