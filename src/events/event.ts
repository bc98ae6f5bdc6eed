/** What can happen to a registry, as it is recorded and later delivered. Pure: it knows neither tables nor listeners. */

/** Whoever did it, as the record remembers them: a subject such as `user:admin`. */
export interface Actor {
  subject: string;
}

export type EventType =
  | 'manifest.pushed'
  | 'manifest.deleted'
  | 'tag.created'
  | 'tag.moved'
  | 'tag.deleted'
  | 'blob.mounted'
  | 'blob.deleted';
