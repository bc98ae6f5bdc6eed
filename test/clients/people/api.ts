/** The management API, as a user's script would use it. */

export interface Api {
  /** @throws Error with the status and the message of a refusal */
  call<T = unknown>(method: string, path: string, body?: object): Promise<T>;
}

export interface Key {
  id: string;
  secret: string;
}

interface Made {
  key: { id: string };
  secret: string;
}

/** A client of the management API. @param secret the access key; without it, requests have no credentials */
export function apiOf(registry: string, secret?: string): Api {
  const authorization: Record<string, string> = secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  return {
    async call<T>(method: string, path: string, body?: object): Promise<T> {
      const response = await fetch(`${registry}/api/v1${path}`, {
        method,
        headers: { ...authorization, ...(body ? { 'content-type': 'application/json' } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return (text === '' ? null : JSON.parse(text)) as T;
    },
  };
}

/** Creates an access key. @param path the route that creates it; `/keys` for a key of the caller */
export async function makeKey(api: Api, body: object, path = '/keys'): Promise<Key> {
  const { key, secret } = await api.call<Made>('POST', path, body);
  return { id: key.id, secret };
}
