/**
 * Scopes of the token protocol, `repository:name:pull,push` (distribution, "Token Scope Documentation"): parses and formats
 * them, and translates them to the registry's actions. Pure.
 */
import { isRepositoryName } from '../oci/name.ts';

/** Actions that a token can carry. Each push is asked whether it may move a tag or create a repository. */
export type Action = 'pull' | 'push' | 'delete' | 'admin' | 'catalog';

/** A resource and the actions allowed on it, as a token carries them. */
export interface Grant {
  type: 'repository' | 'registry';
  name: string;
  actions: Action[];
}

/** The actions that clients ask for, and what they mean. */
const MEANING: Record<Grant['type'], Map<string, Action[]>> = {
  repository: new Map<string, Action[]>([
    ['pull', ['pull']],
    ['push', ['push']],
    ['delete', ['delete']],
    ['*', ['pull', 'push', 'delete', 'admin']],
  ]),
  registry: new Map<string, Action[]>([['*', ['catalog']]]),
};

/** Scopes that one request may ask for: more than any client does. */
export const MAX_SCOPES = 100;

/** Splits texts at white space into scopes. */
export function wordsOf(texts: string[]): string[] {
  return texts.flatMap((text) => text.split(/\s+/)).filter((word) => word !== '');
}

/**
 * Parses scopes. Scopes that nobody could be granted are left out, as the protocol answers with the intersection and not with
 * an error.
 * @param service host and port of this registry, which a scope may have before the name
 */
export function parseScopes(texts: string[], service = ''): Grant[] {
  const grants = wordsOf(texts).flatMap((text) => parseScope(text, service) ?? []);
  const byResource = Map.groupBy(grants, ({ type, name }) => `${type}:${name}`);
  return [...byResource.values()].map((same) => ({
    ...(same[0] as Grant),
    actions: [...new Set(same.flatMap(({ actions }) => actions))],
  }));
}

/** A type may have a class, `repository(plugin)`, which is obsolete (distribution, "Resource Class"). */
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

/** Removes a host with a port. A host without one stays: `registry.example.com/app` is a valid name. */
function withoutHost(name: string, service: string): string {
  return service.includes(':') && name.startsWith(`${service}/`) ? name.slice(service.length + 1) : name;
}

/** The scope that a client has to ask for, for the challenge. */
export function scopeFor(action: Action, repository: string): string {
  if (action === 'catalog') return 'registry:catalog:*';
  const wire = { pull: 'pull', push: 'pull,push', delete: 'delete', admin: '*' };
  return `repository:${repository}:${wire[action]}`;
}

/** Formats a grant for clients of the protocol. */
export function formatGrant({ type, name, actions }: Grant): string {
  return `${type}:${name}:${(type === 'registry' ? ['*'] : actions).join(',')}`;
}
