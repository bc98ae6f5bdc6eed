/** Reads all pages of lists, the digests of references, and the events of a registry. */
import { expect } from 'vitest';
import type { TestQueue } from './queues.ts';
import type { World } from './world.ts';

/** Returns the path of the next page, or `null` for the last page. */
export function nextPage(response: Response): string | null {
  const link = response.headers.get('link');
  if (link === null) return null;
  const next = /^<(\/v2\/[^>]*)>; rel="next"$/.exec(link)?.[1];
  expect(next, link).toBeDefined();
  return next as string;
}

/** Follows the links of a list from `path` on, and returns every page. `meanwhile` is called between two pages. */
export async function everyPage<T>(world: World, path: string, meanwhile: (page: number) => Promise<void> = async () => {}) {
  const pages: T[] = [];
  for (let at: string | null = path; at !== null; ) {
    const response: Response = await world.fetch('GET', at);
    expect(response.status).toBe(200);
    pages.push((await response.json()) as T);
    const next = nextPage(response);
    expect(next, 'a page leads to itself').not.toBe(at);
    at = next;
    if (at !== null) await meanwhile(pages.length);
  }
  return pages;
}

export interface TagList {
  name: string;
  tags: string[];
}

export async function tagsOf(world: World, repository: string): Promise<string[]> {
  const pages = await everyPage<TagList>(world, `/v2/${repository}/tags/list`);
  return pages.flatMap((page) => page.tags);
}

/** Returns the digest of a reference, read with HEAD. Returns the status if the answer is not a 200. */
export async function digestAt(world: World, repository: string, reference: string): Promise<string | number | null> {
  const response = await world.fetch('HEAD', `/v2/${repository}/manifests/${reference}`);
  return response.status === 200 ? response.headers.get('docker-content-digest') : response.status;
}

export interface Recorded {
  type: string;
  target: { tag?: string; digest?: string; previous?: string; mediaType?: string; size?: number };
}

/** Returns the events about one repository, in order. */
export async function eventsOf(world: World, repository: string): Promise<Recorded[]> {
  const { results } = await world.env.DB.prepare('SELECT type, target FROM events WHERE about = ? ORDER BY id')
    .bind(repository)
    .all<{ type: string; target: string }>();
  return results.map(({ type, target }) => ({ type, target: JSON.parse(target) as Recorded['target'] }));
}

export interface EventRow {
  id: number;
  about: string;
  sequence: number;
  type: string;
  target: Record<string, unknown>;
  actor: string;
  key: string | null;
}

/** Returns all events with a greater id, in order. */
export async function recordAfter(world: World, id: number): Promise<EventRow[]> {
  const { results } = await world.env.DB.prepare(
    'SELECT id, about, sequence, type, target, actor, key_id AS key FROM events WHERE id > ? ORDER BY id',
  )
    .bind(id)
    .all<Omit<EventRow, 'target'> & { target: string }>();
  return results.map(({ target, ...row }) => ({ ...row, target: JSON.parse(target) as EventRow['target'] }));
}

/** Returns the id of the newest event, or 0 if there is none. */
export async function newestOf(world: World): Promise<number> {
  return (await world.env.DB.prepare('SELECT coalesce(max(id), 0) AS id FROM events').first<number>('id')) ?? Number.NaN;
}

/** Returns the messages to the queue of events since the last call of this function, in order. */
export function announcedTo(world: World): unknown[] {
  return (world.env.EVENTS as unknown as TestQueue).held.splice(0).map(({ body }) => body);
}
