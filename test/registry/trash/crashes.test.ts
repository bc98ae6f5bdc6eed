/**
 * Stops a restore, or the deletion of a repository, at every call to a store, before or after the call takes effect. An answer
 * is always true, a request without an answer can be repeated, and nothing is left half done.
 *
 * @module-tag walk
 */
import { describe, expect, test } from 'vitest';
import type { Env } from '../../../src/env.ts';
import { violations } from '../../world/checker.ts';
import { FAULTS, type Fault, faulty, SAMPLED_FAULTS } from '../../world/faults.ts';
import { descriptorOf, INDEX_TYPE, indexOf, pushImage, putManifest, textOf } from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { digestAt } from '../../world/reading.ts';
import { indexesOf, inFull } from '../../world/sampling.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';
import { remove, trashRepository } from './trash.ts';

const REPOSITORY = 'acme/api';
const TRASH = `/repositories/${REPOSITORY}/-/trash`;
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

/** A request, and the check of its result. If the request is repeated, it finds that it is done already. */
type Prepared = { method: string; path: string; holds: (world: World) => Promise<void> };

const statements = [{ actions: ['pull'], principals: ['*'] }];
const policyOf = async (world: World) =>
  (await api<{ statements: object[] }>(world, 'GET', `/repositories/${REPOSITORY}/-/policy`)).body.statements;

async function restoringTag(world: World): Promise<Prepared> {
  const image = await pushImage(world, REPOSITORY, 'v1');
  await remove(world, REPOSITORY, 'v1', image.digest);
  const holds = async (at: World) => expect(await digestAt(at, REPOSITORY, 'v1')).toBe(image.digest);
  return { method: 'POST', path: `${TRASH}/tags/v1/restore`, holds };
}

/** The restore of a large index with a large referrer, and with an image whose layer a client has deleted. */
async function restoringIndex(world: World): Promise<Prepared> {
  const image = await pushImage(world, REPOSITORY, null, 1);
  const index = await indexOf([image], LARGE);
  await putManifest(world, REPOSITORY, 'v1', textOf(index), INDEX_TYPE);
  const referrer = await pushImage(world, REPOSITORY, null, 2, { subject: descriptorOf(index, INDEX_TYPE), ...LARGE });
  await remove(world, REPOSITORY, index.digest, image.digest, referrer.digest);
  const { layers } = JSON.parse(textOf(image)) as { layers: [{ digest: string }] };
  const layer = `/v2/${REPOSITORY}/blobs/${layers[0].digest}`;
  expect((await world.fetch('DELETE', layer)).status).toBe(202);
  const holds = async (at: World) => {
    expect(await digestAt(at, REPOSITORY, 'v1')).toBe(index.digest);
    for (const { digest } of [index, image, referrer]) {
      expect((await at.fetch('GET', `/v2/${REPOSITORY}/manifests/${digest}`)).status).toBe(200);
    }
    expect((await at.fetch('GET', layer)).status).toBe(200);
  };
  return { method: 'POST', path: `${TRASH}/manifests/${index.digest}/restore`, holds };
}

/** The restore of an image that was pushed again, so that the bucket has two documents, one of which must be deleted. */
async function restoringPushedAgain(world: World): Promise<Prepared> {
  const image = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
  await remove(world, REPOSITORY, image.digest);
  await pushImage(world, REPOSITORY, 'v2', 1, LARGE);
  const holds = async (at: World) => {
    for (const tag of ['v1', 'v2']) expect(await digestAt(at, REPOSITORY, tag)).toBe(image.digest);
    expect(await at.env.DB.prepare('SELECT count(*) AS n FROM tombstones').first('n')).toBe(1);
  };
  return { method: 'POST', path: `${TRASH}/manifests/${image.digest}/restore`, holds };
}

async function madePublic(world: World) {
  const image = await pushImage(world, REPOSITORY, 'v1', 1);
  const saved = await api(world, 'PUT', `/repositories/${REPOSITORY}/-/policy`, { body: { statements } });
  expect(saved.status).toBe(200);
  return image;
}

async function deletingRepository(world: World): Promise<Prepared> {
  await madePublic(world);
  await world.env.DB.prepare('INSERT INTO tag_mutability (repository_id, rule) SELECT id, ?1 FROM repositories')
    .bind(JSON.stringify({ value: 'MUTABLE_WITH_EXCLUSION', exclusions: ['x*'] }))
    .run();
  const holds = async (at: World) => {
    expect(await digestAt(at, REPOSITORY, 'v1')).toBe(404);
    const kept = await at.env.DB.prepare("SELECT count(*) AS n FROM policies WHERE subject LIKE 'trash:%'").first('n');
    expect(kept).toBe(1);
  };
  return { method: 'DELETE', path: `/repositories/${REPOSITORY}?force=true`, holds };
}

async function restoringRepository(world: World): Promise<Prepared> {
  const image = await madePublic(world);
  const entry = await trashRepository(world, REPOSITORY);
  const holds = async (at: World) => {
    expect(await digestAt(at, REPOSITORY, 'v1')).toBe(image.digest);
    expect(await policyOf(at)).toMatchObject(statements);
    expect(await at.env.DB.prepare('SELECT count(*) AS n FROM policy_principals').first('n')).toBe(1);
  };
  return { method: 'POST', path: `/trash/${entry}/restore`, holds };
}

const CHANGES: Record<string, (world: World) => Promise<Prepared>> = {
  'the restore of a tag and its manifest': restoringTag,
  'the restore of an index with all that belongs to it': restoringIndex,
  'the restore of a manifest that was pushed again': restoringPushedAgain,
  'the deletion of a repository': deletingRepository,
  'the restore of a repository': restoringRepository,
};

/** True if the request was answered with success. Otherwise the outcome must be unknown, or the request was done before. */
async function answered(world: World, { method, path }: Prepared): Promise<boolean> {
  const { status } = await world.fetch(method, `/api/v1${path}`);
  expect([200, 204, 404, 503]).toContain(status);
  return status !== 503;
}

async function attempt(env: Env, change: Prepared, fault: Fault, at: number): Promise<boolean> {
  const faults = faulty(env, fault, at);
  return Promise.race([answered(worldOf(faults.env), change), faults.stopped.then(() => false)]);
}

/** Runs the change without faults. @returns the calls that it makes */
async function callsOf(prepare: (world: World) => Promise<Prepared>): Promise<string[]> {
  const quiet = await newWorld();
  const golden = await prepare(quiet);
  const counted = faulty(quiet.env);
  expect(await answered(worldOf(counted.env), golden)).toBe(true);
  await golden.holds(quiet);
  expect(counted.calls.length).toBeGreaterThan(1);
  return counted.calls;
}

describe.each(Object.entries(CHANGES))('%s', (_, prepare) => {
  let known: string[] | undefined;

  test.each(inFull(FAULTS, SAMPLED_FAULTS))('survives any call that ends in %s', async (fault) => {
    known ??= await callsOf(prepare);
    for (const at of indexesOf(known.length, FAULTS.indexOf(fault), FAULTS.length)) {
      const where = `${fault} at ${known[at]} (${at + 1} of ${known.length})`;
      const world = await newWorld();
      const change = await prepare(world);
      if (await attempt(world.env, change, fault, at)) await change.holds(world);
      expect(await violations(world.env), where).toEqual([]);
      expect(await answered(world, change), where).toBe(true);
      await change.holds(world);
      expect(await violations(world.env), `${where}, after the retry`).toEqual([]);
    }
  });
});
