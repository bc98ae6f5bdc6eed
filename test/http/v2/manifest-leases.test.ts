/**
 * Leases of manifests (invariant 8). A client that was told that a manifest exists can rely on it until it pushes a manifest
 * that references it.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { settings } from '../../../src/env.ts';
import { counting } from '../../world/counting.ts';
import { type Content, IMAGE_TYPE, imageIn, pushImage, textOf } from '../../world/images.ts';
import { makeOrganization, makeTeam } from '../../world/organizations.ts';
import { inviteUser } from '../../world/people.ts';
import { tokenFor } from '../../world/tokens.ts';
import { builtOnce, type Send, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';

let world: World;
let image: Content;
let whole: number;

const build = builtOnce(async (made) => {
  world = made;
  image = await imageIn(world, REPOSITORY, 1);
  whole = settings(world.env).leaseSeconds;
});

beforeEach(async () => {
  world = await build();
});

const put = (reference: string, of = image, at = world) =>
  at.fetch('PUT', `/v2/${REPOSITORY}/manifests/${reference}`, { headers: { 'content-type': IMAGE_TYPE }, body: textOf(of) });

async function must(response: Promise<Response>, status = 201): Promise<void> {
  expect((await response).status).toBe(status);
}

/** The seconds that are left of the lease of a manifest. A test takes less than five seconds. */
async function leaseOf({ digest }: Content): Promise<number> {
  const sql = 'SELECT leased_until - unixepoch() AS left, leased_until FROM manifests WHERE digest = ?';
  const row = await world.env.DB.prepare(sql).bind(digest).first<{ left: number; leased_until: number }>();
  expect(row).not.toBeNull();
  return row?.leased_until === 0 ? 0 : (row?.left ?? Number.NaN);
}

async function expectLease(of: Content, seconds: number): Promise<void> {
  const left = await leaseOf(of);
  expect(left).toBeLessThanOrEqual(seconds);
  expect(left).toBeGreaterThan(seconds - 5);
}

async function setLease(seconds: number): Promise<void> {
  await world.env.DB.prepare('UPDATE manifests SET leased_until = unixepoch() + ?').bind(seconds).run();
}

async function rowsWritten(method: string, reference: string, init: Send = {}): Promise<number> {
  const { env, counts } = counting(world.env);
  const response = await worldOf(env).fetch(method, `/v2/${REPOSITORY}/manifests/${reference}`, init);
  expect(response.status).toBeLessThan(300);
  await response.arrayBuffer();
  return counts.rowsWritten;
}

describe('a put', () => {
  test('without a tag takes a lease; with a tag it needs none', async () => {
    await must(put(image.digest));
    await expectLease(image, whole);
    const [second, third] = [await imageIn(world, REPOSITORY, 2), await imageIn(world, REPOSITORY, 3)];
    await must(put('v2', second));
    expect(await leaseOf(second)).toBe(0);
    await must(put(`${third.digest}?tag=v3`, third));
    expect(await leaseOf(third)).toBe(0);
  });

  test('of an existing manifest takes a lease, or extends one that is half over', async () => {
    await must(put('v1'));
    await must(put(image.digest));
    await expectLease(image, whole);
    for (const [left, then] of [
      [whole / 2 - 10, whole],
      [whole / 2 + 10, whole / 2 + 10],
      [-100, whole],
    ] as const) {
      await setLease(left);
      await must(put(image.digest));
      await expectLease(image, then);
    }
  });

  test('under a tag keeps the existing lease', async () => {
    for (const left of [whole, 100, -100]) {
      await must(put(image.digest));
      await setLease(left);
      for (const reference of ['v1', `${image.digest}?tag=v2`]) {
        await must(put(reference));
        await expectLease(image, left);
      }
    }
  });

  test('that is refused takes none', async () => {
    await must(put(image.digest));
    await setLease(-100);
    const headers = { 'content-type': IMAGE_TYPE, 'if-none-match': '*' };
    await must(world.fetch('PUT', `/v2/${REPOSITORY}/manifests/${image.digest}`, { headers, body: textOf(image) }), 412);
    await expectLease(image, -100);
  });

  test('is as long as LEASE_SECONDS says', async () => {
    await must(put(image.digest, image, worldOf({ ...world.env, LEASE_SECONDS: '600' })));
    await expectLease(image, 600);
  });
});

describe('HEAD by digest by a caller who may push', () => {
  test('takes a lease if there is none or less than half of one left, and writes one row only then', async () => {
    await must(put('v1'));
    // The first HEAD of a day also records that the image is in use.
    await rowsWritten('HEAD', image.digest);
    for (const [left, then] of [
      [-1_000_000, whole],
      [0, whole],
      [whole / 2 - 10, whole],
    ] as const) {
      await setLease(left);
      expect(await rowsWritten('HEAD', image.digest)).toBe(1);
      await expectLease(image, then);
      expect(await rowsWritten('HEAD', image.digest)).toBe(0);
    }
    await setLease(whole / 2 + 10);
    expect(await rowsWritten('HEAD', image.digest)).toBe(0);
    await expectLease(image, whole / 2 + 10);
  });

  test('needs a token for pushing, not only for pulling', async () => {
    await must(put('v1'));
    const [pull, push] = ['pull', 'pull,push'].map((actions) => tokenFor(world, `repository:${REPOSITORY}:${actions}`));
    const withToken = async (token: Promise<string> | undefined) => ({ authorization: `Bearer ${await token}` });
    // One row a day is written for the use of the image, and no row for a lease.
    expect(await rowsWritten('HEAD', image.digest, await withToken(pull))).toBe(1);
    expect(await rowsWritten('HEAD', image.digest, await withToken(pull))).toBe(0);
    expect(await leaseOf(image)).toBe(0);
    expect(await rowsWritten('HEAD', image.digest, await withToken(push))).toBe(1);
    await expectLease(image, whole);
  });

  test('of an unknown manifest is a 404 and writes nothing, even if another repository has it', async () => {
    await pushImage(world, 'acme/other', 'v1', 1);
    await must(world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/${image.digest}`), 404);
    await must(world.fetch('HEAD', `/v2/acme/nowhere/manifests/${image.digest}`), 404);
    expect(await leaseOf(image)).toBe(0);
  });

  test('returns the same as GET, and respects conditions', async () => {
    await must(put('v1'));
    const [head, get] = await Promise.all(
      ['HEAD', 'GET'].map((method) => world.fetch(method, `/v2/${REPOSITORY}/manifests/${image.digest}`)),
    );
    const names = ['content-type', 'content-length', 'docker-content-digest', 'etag'];
    expect(names.map((name) => head?.headers.get(name))).toEqual(names.map((name) => get?.headers.get(name)));
    const headers = { 'if-none-match': `"${image.digest}"` };
    await must(world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/${image.digest}`, { headers }), 304);
  });
});

describe('no lease is taken', () => {
  test('by HEAD or GET of a tag, or by GET of a digest', async () => {
    await must(put('v1'));
    for (const [method, reference] of [
      ['HEAD', 'v1'],
      ['GET', 'v1'],
      ['GET', image.digest],
    ] as const) {
      await must(world.fetch(method, `/v2/${REPOSITORY}/manifests/${reference}`), 200);
    }
    expect(await leaseOf(image)).toBe(0);
  });

  test('by callers who may not push, whatever other rights they have', async () => {
    await must(put('v1'));
    const reader = await inviteUser(world, 'reader');
    await makeOrganization(world, 'acme', { members: [reader] });
    await makeTeam(
      world,
      'acme',
      'readers',
      [reader],
      [{ actions: ['pull', 'delete', 'retag', 'admin'], repositories: ['acme/*'] }],
    );
    await must(world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/${image.digest}`, { authorization: reader.basic }), 200);
    expect(await leaseOf(image)).toBe(0);
  });
});

test('a manifest that was deleted and pushed again has only the lease of its new put', async () => {
  await must(put(image.digest));
  await must(world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${image.digest}`), 202);
  await must(put('v1'));
  expect(await leaseOf(image)).toBe(0);
});
