/** Helpers of the tests of the trash: they delete, restore and purge as a client does, and read the result. */
import { expect } from 'vitest';
import { type ApiAnswer, type ApiRequest, api } from '../../world/people.ts';
import type { World } from '../../world/world.ts';

export interface Restored {
  tags: string[];
  notRestored: string[];
  manifests: string[];
}

export interface Entry {
  kind: string;
  name: string;
  digest: string;
  tags: string[];
  deletedAt: string;
  restorableUntil: string;
  [field: string]: unknown;
}

export interface DeletedRepository {
  entry: string;
  name: string;
  [field: string]: unknown;
}

const pathOf = (repository: string, reference: string) =>
  `/repositories/${repository}/-/trash/${reference.includes(':') ? 'manifests' : 'tags'}/${reference}`;

/** Deletes tags or manifests through /v2. */
export async function remove(world: World, repository: string, ...references: string[]): Promise<void> {
  for (const reference of references) {
    const response = await world.fetch('DELETE', `/v2/${repository}/manifests/${reference}`);
    expect(response.status, await response.text()).toBe(202);
  }
}

export function restore(world: World, repository: string, reference: string, request: ApiRequest = {}) {
  return api<Restored>(world, 'POST', `${pathOf(repository, reference)}/restore`, request);
}

/** Restores a tag or manifest, and expects that it succeeds. */
export async function restored(world: World, repository: string, reference: string): Promise<Restored> {
  const { status, body } = await restore(world, repository, reference);
  expect(status, JSON.stringify(body)).toBe(200);
  const { tags, notRestored, manifests } = body;
  return { tags, notRestored, manifests };
}

export function purge(world: World, repository: string, reference: string, request: ApiRequest = {}) {
  return api(world, 'DELETE', pathOf(repository, reference), request);
}

export async function trashOf(world: World, repository: string): Promise<Entry[]> {
  const { status, body } = await api<{ items: Entry[] }>(world, 'GET', `/repositories/${repository}/-/trash?n=1000`);
  expect(status).toBe(200);
  return body.items;
}

/** The entries of the trash, each as `<kind> <name>`. */
export async function namesInTrash(world: World, repository: string): Promise<string[]> {
  return (await trashOf(world, repository)).map(({ kind, name }) => `${kind} ${name}`);
}

export async function deletedRepositories(world: World, request: ApiRequest = {}): Promise<DeletedRepository[]> {
  const { status, body } = await api<{ items: DeletedRepository[] }>(world, 'GET', '/trash?n=1000', request);
  expect(status).toBe(200);
  return body.items;
}

export function removeRepository(world: World, repository: string, query = '?force=true'): Promise<ApiAnswer> {
  return api(world, 'DELETE', `/repositories/${repository}${query}`);
}

/** Deletes a repository. @returns its entry in the trash */
export async function trashRepository(world: World, repository: string): Promise<string> {
  const before = await deletedRepositories(world);
  expect((await removeRepository(world, repository)).status).toBe(200);
  const known = before.map(({ entry }) => entry);
  return (await deletedRepositories(world)).find(({ entry }) => !known.includes(entry))?.entry ?? '';
}

export function restoreRepository(world: World, entry: string, request: ApiRequest = {}) {
  return api<{ name: string }>(world, 'POST', `/trash/${entry}/restore`, request);
}
