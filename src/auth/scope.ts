/**
 * Scopes of the token protocol, such as `repository:name:pull,push` (distribution, "Token Scope Documentation"). Parses and
 * formats scopes, and translates their actions to those of the registry. This module does no I/O.
 */
import { isRepositoryName } from '../oci/name.ts';

/**
 * The actions that a token can contain. `retag` and `create` are not among them, because each push checks these rights in D1.
 */
export type Action = 'pull' | 'push' | 'delete' | 'admin' | 'catalog';

/** A resource and the actions that a token allows on it. */
export interface Grant {
  type: 'repository' | 'registry';
  name: string;
  actions: Action[];
}

/** The registry's actions for each action that a client can request. */
const MEANING: Record<Grant['type'], Map<string, Action[]>> = {
  repository: new Map<string, Action[]>([
    ['pull', ['pull']],
    ['push', ['push']],
    ['delete', ['delete']],
    ['*', ['pull', 'push', 'delete', 'admin']],
  ]),
  registry: new Map<string, Action[]>([['*', ['catalog']]]),
};

/** The maximum number of scopes in one request. No client requests so many. */
export const MAX_SCOPES = 100;

/** Splits texts into scopes at white space. */
export function wordsOf(texts: string[]): string[] {
  return texts.flatMap((text) => text.split(/\s+/)).filter((word) => word !== '');
}

/**
 * Parses scopes. Scopes that nobody can be granted are left out, because the protocol requires an answer with the grantable
 * scopes and not an error.
 * @param service the registry's host and port, which a scope may contain before the name
 */
export function parseScopes(texts: string[], service = ''): Grant[] {
  const grants = wordsOf(texts).flatMap((text) => parseScope(text, service) ?? []);
  const byResource = Map.groupBy(grants, ({ type, name }) => `${type}:${name}`);
  return [...byResource.values()].map((same) => ({
    ...(same[0] as Grant),
    actions: [...new Set(same.flatMap(({ actions }) => actions))],
  }));
}

/**
 * The type of a resource may be followed by a class, as in `repository(plugin)`, which is obsolete (distribution, "Resource
 * Class").
 */
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

/**
 * Removes the registry's host from a name if the host has a port. Without a port, `registry.example.com/app` is a valid
 * repository name.
 */
function withoutHost(name: string, service: string): string {
  return service.includes(':') && name.startsWith(`${service}/`) ? name.slice(service.length + 1) : name;
}

/** Returns the scope that a client must request for an action. The challenge in a 401 answer contains it. */
export function scopeFor(action: Action, repository: string): string {
  if (action === 'catalog') return 'registry:catalog:*';
  const wire = { pull: 'pull', push: 'pull,push', delete: 'delete', admin: '*' };
  return `repository:${repository}:${wire[action]}`;
}

/** Formats a grant as a scope. */
export function formatGrant({ type, name, actions }: Grant): string {
  return `${type}:${name}:${(type === 'registry' ? ['*'] : actions).join(',')}`;
}
