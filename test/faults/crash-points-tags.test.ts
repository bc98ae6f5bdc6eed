/**
 * Makes each call to a store fail during a change of tags: the call is refused, its answer is lost, or the Worker stops, before
 * or after the call took effect. An answer is always true, a request without an answer can be repeated, and nothing is written
 * twice.
 *
 * @module-tag walk
 */
import { describe, expect, test } from 'vitest';
import type { Env } from '../../src/env.ts';
import { violations } from '../world/checker.ts';
import { FAULTS, type Fault, faulty, SAMPLED_FAULTS } from '../world/faults.ts';
import { type Content, IMAGE_TYPE, INDEX_TYPE, imageIn, indexOf, pushImage, putManifest, textOf } from '../world/images.ts';
import { api } from '../world/people.ts';
import { digestAt } from '../world/reading.ts';
import { indexesOf, inFull } from '../world/sampling.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

/** A change that a client makes. After a failure it may be run again, as often as necessary. */
interface Change {
  prepare(world: World): Promise<void>;
  /** Sends the requests. Throws if an answer is not a success. */
  run(world: World): Promise<void>;
  /** Checks the result, after `run` has returned. */
  holds(world: World): Promise<void>;
}

class Unanswered extends Error {}

/** Throws unless the status is a success. A refusal other than "try again" fails the test. */
function must(status: number, ...successes: number[]): void {
  if (status === 503) throw new Unanswered();
  expect(successes).toContain(status);
}

async function pointsOf(world: World, tag: string): Promise<unknown[]> {
  const { results } = await world.env.DB.prepare('SELECT digest FROM tag_history WHERE tag = ? ORDER BY point').bind(tag).all();
  return results.map(({ digest }) => digest);
}

/** Checks that the tag's history has each of these once, and that the tag names the last. */
async function expectMoves(world: World, tag: string, ...images: (Content | null)[]): Promise<void> {
  expect(await pointsOf(world, tag)).toEqual(images.map((image) => image?.digest ?? null));
  expect(await digestAt(world, REPOSITORY, tag)).toBe(images.at(-1)?.digest ?? 404);
  // A client that tries again may push a tag that names the manifest already. That push has an event of its own.
  const { results } = await world.env.DB.prepare(
    `SELECT type FROM events WHERE target ->> 'tag' = ? AND type <> 'tag.pushed' ORDER BY id`,
  )
    .bind(tag)
    .all();
  expect(results).toHaveLength(images.length);
}

const save = (world: World, body: unknown, headers: Record<string, string> = {}) =>
  api(world, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, { body, headers });
const excluding = {
  imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
  imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'dev-*' }],
};

/** @param header the condition of the put. If the condition fails, an earlier attempt may have succeeded */
function moving(more: Record<string, unknown>, header: (was: Content) => Record<string, string>): Change {
  let one: Content;
  let two: Content;
  return {
    prepare: async (world) => {
      one = await pushImage(world, REPOSITORY, 'dev-1', 1);
      two = await imageIn(world, REPOSITORY, 2, more);
      expect((await save(world, excluding)).status).toBe(200);
    },
    run: async (world) => {
      const headers = { 'content-type': IMAGE_TYPE, ...header(one) };
      const path = `/v2/${REPOSITORY}/manifests/dev-1`;
      const { status } = await world.fetch('PUT', path, { headers, body: textOf(two) });
      must(status, 201, ...(Object.keys(header(one)).length > 0 ? [412] : []));
    },
    holds: (world) => expectMoves(world, 'dev-1', one, two),
  };
}

function makingFirst(): Change {
  let image: Content;
  return {
    prepare: async (world) => {
      image = await imageIn(world, REPOSITORY, 1);
    },
    run: async (world) => {
      const headers = { 'content-type': IMAGE_TYPE, 'if-none-match': '*' };
      const path = `/v2/${REPOSITORY}/manifests/${image.digest}?tag=a&tag=b`;
      must((await world.fetch('PUT', path, { headers, body: textOf(image) })).status, 201, 412);
    },
    holds: async (world) => {
      for (const tag of ['a', 'b']) await expectMoves(world, tag, image);
    },
  };
}

function rollingBack(): Change {
  let one: Content;
  let two: Content;
  return {
    prepare: async (world) => {
      one = await pushImage(world, REPOSITORY, 'dev-1', 1);
      two = await pushImage(world, REPOSITORY, 'dev-1', 2);
      expect((await save(world, excluding)).status).toBe(200);
    },
    run: async (world) => {
      const path = `/repositories/${REPOSITORY}/-/tags/dev-1/rollback`;
      must((await api(world, 'POST', path, { body: { point: 1 } })).status, 200);
    },
    holds: (world) => expectMoves(world, 'dev-1', one, two, one),
  };
}

function deletingTag(): Change {
  let image: Content;
  return {
    prepare: async (world) => {
      image = await pushImage(world, REPOSITORY, 'dev-1', 1);
      expect((await save(world, excluding)).status).toBe(200);
    },
    run: async (world) => must((await world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/dev-1`)).status, 202, 404),
    holds: async (world) => {
      await expectMoves(world, 'dev-1', image, null);
      const { results } = await world.env.DB.prepare('SELECT kind, name, digest FROM trash').all();
      expect(results).toEqual([{ kind: 'tag', name: 'dev-1', digest: image.digest }]);
      expect(await digestAt(world, REPOSITORY, image.digest)).toBe(image.digest);
    },
  };
}

function deletingIndex(more: Record<string, unknown>): Change {
  let children: Content[];
  let index: Content;
  return {
    prepare: async (world) => {
      children = [await pushImage(world, REPOSITORY, null, 1), await pushImage(world, REPOSITORY, null, 2)];
      index = await indexOf(children, more);
      const reference = `${index.digest}?tag=dev-1&tag=dev-2`;
      expect((await putManifest(world, REPOSITORY, reference, textOf(index), INDEX_TYPE)).status).toBe(201);
      expect((await save(world, excluding)).status).toBe(200);
    },
    run: async (world) => must((await world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${index.digest}`)).status, 202, 404),
    holds: async (world) => {
      for (const tag of ['dev-1', 'dev-2']) await expectMoves(world, tag, index, null);
      const { results } = await world.env.DB.prepare('SELECT kind, name, tags FROM trash').all();
      expect(results).toEqual([{ kind: 'manifest', name: index.digest, tags: '["dev-1","dev-2"]' }]);
      for (const { digest } of children) expect(await digestAt(world, REPOSITORY, digest)).toBe(digest);
    },
  };
}

function saving(conditional: boolean): Change {
  let etag: string;
  return {
    prepare: async (world) => {
      await pushImage(world, REPOSITORY, 'v1', 1);
      etag = (await api(world, 'GET', `/repositories/${REPOSITORY}/-/tag-mutability`)).headers.get('etag') ?? '';
    },
    run: async (world) => {
      const { status } = await save(world, excluding, conditional ? { 'if-match': etag } : {});
      must(status, 200, ...(conditional ? [412] : []));
    },
    holds: async (world) => {
      expect((await api(world, 'GET', `/repositories/${REPOSITORY}/-/tag-mutability`)).body).toEqual(excluding);
      const { results } = await world.env.DB.prepare(`SELECT id FROM events WHERE type = 'tag-mutability.saved'`).all();
      expect(results).toHaveLength(1);
    },
  };
}

const CHANGES: Record<string, () => Change> = {
  'a push that moves a tag which a rule excludes': () => moving({}, () => ({})),
  'the same of a large manifest': () => moving(LARGE, () => ({})),
  'a push on condition of what the tag names': () => moving({}, ({ digest }) => ({ 'if-match': `"${digest}"` })),
  'the same of a large manifest on condition': () => moving(LARGE, ({ digest }) => ({ 'if-match': `"${digest}"` })),
  'a push on condition that its tags are not there': makingFirst,
  'a rollback': rollingBack,
  'the deletion of a tag': deletingTag,
  'the deletion of an index with its tags': () => deletingIndex({}),
  'the deletion of a large index': () => deletingIndex(LARGE),
  'a rule that is saved': () => saving(false),
  'a rule that is saved on condition': () => saving(true),
};

/** Runs the change with one fault. @returns true if it was answered */
async function attempt(env: Env, change: Change, fault: Fault, at: number): Promise<boolean> {
  const faults = faulty(env, fault, at);
  const answered = change.run(worldOf(faults.env)).then(
    () => true,
    (error: unknown) => {
      if (error instanceof Unanswered) return false;
      throw error;
    },
  );
  return Promise.race([answered, faults.stopped.then(() => false)]);
}

/** Runs the change without faults. Returns the calls that it makes. */
async function callsOf(golden: Change): Promise<string[]> {
  const quiet = await newWorld();
  await golden.prepare(quiet);
  const counted = faulty(quiet.env);
  await golden.run(worldOf(counted.env));
  await golden.holds(quiet);
  expect(counted.calls.length).toBeGreaterThan(0);
  return counted.calls;
}

describe.each(Object.entries(CHANGES))('%s', (_, make) => {
  let known: string[] | undefined;

  test.each(inFull(FAULTS, SAMPLED_FAULTS))('survives any call that ends in %s', async (fault) => {
    known ??= await callsOf(make());
    for (const at of indexesOf(known.length, FAULTS.indexOf(fault), FAULTS.length)) {
      const where = `${fault} at ${known[at]} (${at + 1} of ${known.length})`;
      const change = make();
      const world = await newWorld();
      await change.prepare(world);
      if (await attempt(world.env, change, fault, at)) await change.holds(world);
      expect(await violations(world.env), where).toEqual([]);
      await change.run(world);
      await change.holds(world);
      expect(await violations(world.env), `${where}, after the retry`).toEqual([]);
    }
  });
});
