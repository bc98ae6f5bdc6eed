/**
 * Uploads that are refused: the code, and that a refusal changes nothing it should not.
 *
 * @module-tag walk
 */

import { beforeEach, describe, expect, test } from 'vitest';
import { mintAccessToken, sealUpload } from '../../../src/auth/tokens.ts';
import { newUploadId } from '../../../src/registry/uploads/sessions.ts';
import { contentOf, pushBlob, refusal } from '../../world/images.ts';
import { inFull } from '../../world/sampling.ts';
import {
  begin,
  broken,
  brokenOff,
  countOf,
  expireAll,
  finish,
  keysOf,
  layer,
  locationOf,
  MIB,
  MODES,
  orphansOf,
  patch,
  postWhole,
  progressOf,
  pulled,
  shortened,
  sized,
  standing,
  statusOf,
  truncated,
  unsized,
} from '../../world/uploads.ts';
import { newWorld, ORIGIN, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const NO_DIGEST = `sha256:${'0'.repeat(64)}` as const;

describe.each(inFull<readonly (typeof MODES)[number][]>(MODES, MODES.slice(0, 1)))('VERIFY=$verify', ({ verify, part }) => {
  let world: World;

  beforeEach(async () => {
    world = await newWorld({ VERIFY: verify, PART_BYTES: String(part) });
  });

  /** An upload that has received `bytes`. */
  async function begun(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    const response = await patch(world, await begin(world), sized(bytes));
    expect(response.status).toBe(202);
    return locationOf(response);
  }

  describe('a chunk out of order', () => {
    test('that is the first and does not begin at 0 is a 416 with the offset 0 and the location', async () => {
      const location = await begin(world);
      const response = await patch(world, location, sized(layer(10), '5-14'));
      expect(progressOf(response)).toBe('416 0-0');
      expect(await standing(world, locationOf(response))).toBe('204 0-0');
      expect(await refusal(response)).toBe('416 BLOB_UPLOAD_INVALID');
      expect(await keysOf(world)).toEqual([]);
      expect(await countOf(world, 'uploads')).toBe(0);
    });

    test.each([
      { kind: 'with a gap', range: '25-34' },
      { kind: 'that overlaps', range: '15-24' },
      { kind: 'sent again', range: '10-19' },
      { kind: 'from the beginning', range: '0-9' },
    ])('$kind is a 416 with the true offset, from which it goes on', async ({ range }) => {
      const { bytes, digest } = await contentOf(layer(30));
      const location = await begun(bytes.slice(0, 20));
      for (const attempt of [
        patch(world, location, sized(layer(10, 7), range)),
        patch(world, location, unsized(layer(10, 7), range)),
        finish(world, location, digest, sized(layer(10, 7), range)),
      ]) {
        const response = await attempt;
        expect(progressOf(response)).toBe('416 0-19');
        expect(await standing(world, locationOf(response))).toBe('204 0-19');
        expect(await refusal(response)).toBe('416 BLOB_UPLOAD_INVALID');
      }
      expect((await finish(world, location, digest, sized(bytes.slice(20), '20-29'))).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('that closes an upload which has received nothing is a 416 with 0', async () => {
      const { bytes, digest } = await contentOf(layer(10));
      const location = await begin(world);
      const response = await finish(world, location, digest, sized(bytes, '1-10'));
      expect(progressOf(response)).toBe('416 0-0');
      expect((await finish(world, location, digest, sized(bytes))).status).toBe(201);
    });
  });

  describe('a Content-Range', () => {
    test.each(
      [
        '9-0',
        'abc-def',
        '0-',
        '-5',
        '-',
        '',
        '0',
        'bytes 9-0/10',
        'bytes */10',
        'items 0-9/10',
        '0-9/5',
        '0-9,10-19',
        '0x0-0x9',
        '0-9.5',
        '1e0-1e1',
        '18446744073709551616-18446744073709551625',
        '0-18446744073709551616',
        '0-9007199254740993',
        `0-${'9'.repeat(5000)}`,
      ].map(shortened),
    )('that says $shown is a 416 that changes nothing', async ({ value: range }) => {
      const location = await begun(layer(20));
      const response = await patch(world, location, sized(layer(10), range));
      expect(progressOf(response)).toBe('416 0-19');
      expect(await refusal(response)).toBe('416 BLOB_UPLOAD_INVALID');
      expect(await refusal(await finish(world, location, NO_DIGEST, sized(layer(10), range)))).toBe('416 BLOB_UPLOAD_INVALID');
      expect(await standing(world, location)).toBe('204 0-19');
    });

    test('that contradicts Content-Length is SIZE_INVALID before bytes are stored', async () => {
      const location = await begun(layer(20));
      const keys = await keysOf(world);
      for (const range of ['20-28', '20-30']) {
        expect(await refusal(await patch(world, location, sized(layer(10), range)))).toBe('400 SIZE_INVALID');
        expect(await refusal(await finish(world, location, NO_DIGEST, sized(layer(10), range)))).toBe('400 SIZE_INVALID');
      }
      expect(await refusal(await patch(world, location, sized(new Uint8Array(), '20-29')))).toBe('400 SIZE_INVALID');
      expect(await standing(world, location)).toBe('204 0-19');
      expect(await keysOf(world)).toEqual(keys);
    });

    test('that contradicts a body of unknown length is SIZE_INVALID, and nothing of it is stored', async () => {
      const location = await begun(layer(20));
      const keys = await keysOf(world);
      for (const range of ['20-28', '20-30']) {
        expect(await refusal(await patch(world, location, unsized(layer(10), range)))).toBe('400 SIZE_INVALID');
      }
      const long = layer(2 * part);
      expect(await refusal(await patch(world, location, unsized(long, `20-${part}`)))).toBe('400 SIZE_INVALID');
      expect(await standing(world, location)).toBe('204 0-19');
      expect(await keysOf(world)).toEqual(keys);
    });

    test('of a direct upload must match its body', async () => {
      const { bytes, digest } = await contentOf(layer(10));
      expect(await refusal(await finish(world, await begin(world), digest, sized(bytes, '0-8')))).toBe('400 SIZE_INVALID');
      const posted = await postWhole(world, REPOSITORY, digest, sized(bytes, '0-8'));
      expect(await refusal(posted)).toBe('400 SIZE_INVALID');
      expect(await keysOf(world)).toEqual([]);
    });
  });

  describe('content with another digest', () => {
    const sent = layer(2 * part + 5, 1);

    /** Every way to upload. Each returns the answer and the location of the upload. */
    const ways: Record<string, (claimed: string) => Promise<{ response: Response; location?: string }>> = {
      'a single POST': async (claimed) => ({ response: await postWhole(world, REPOSITORY, claimed, sized(sent)) }),
      'a single POST of unknown length': async (claimed) => ({
        response: await postWhole(world, REPOSITORY, claimed, unsized(sent)),
      }),
      'POST and PUT': async (claimed) => {
        const location = await begin(world);
        return { response: await finish(world, location, claimed, sized(sent)), location };
      },
      'POST and PUT of unknown length': async (claimed) => {
        const location = await begin(world);
        return { response: await finish(world, location, claimed, unsized(sent)), location };
      },
      'one PATCH of unknown length': async (claimed) => {
        const location = await begin(world);
        await patch(world, location, unsized(sent));
        return { response: await finish(world, location, claimed), location };
      },
      'chunks, the last in the PUT': async (claimed) => {
        const location = await begun(sent.slice(0, part + 1));
        return { response: await finish(world, location, claimed, sized(sent.slice(part + 1))), location };
      },
      'chunks after a PATCH of unknown length': async (claimed) => {
        const location = await begin(world);
        const next = locationOf(await patch(world, location, unsized(sent.slice(0, part + 1))));
        await patch(world, next, sized(sent.slice(part + 1)));
        return { response: await finish(world, location, claimed), location };
      },
    };

    test.each(Object.entries(ways))(
      'by %s is DIGEST_INVALID: neither digest exists, and the upload is closed',
      async (_, way) => {
        const claimed = (await contentOf(layer(2 * part + 5, 2))).digest;
        const actual = (await contentOf(sent)).digest;
        const { response, location } = await way(claimed);
        expect(await refusal(response)).toBe('400 DIGEST_INVALID');
        for (const digest of [claimed, actual]) {
          expect(await statusOf(world, 'HEAD', `/v2/${REPOSITORY}/blobs/${digest}`)).toBe(404);
        }
        if (location !== undefined) {
          expect(await refusal(await world.fetch('GET', location))).toBe('404 BLOB_UPLOAD_UNKNOWN');
          expect(await refusal(await finish(world, location, actual, sized(sent)))).toBe('404 BLOB_UPLOAD_UNKNOWN');
        }
        expect(await orphansOf(world)).toEqual([]);
        expect(await countOf(world, 'blobs')).toBe(0);
        expect(await countOf(world, 'repositories')).toBe(0);
      },
    );

    test('by a single POST leaves no row, because nobody can continue that upload', async () => {
      expect(await refusal(await postWhole(world, REPOSITORY, NO_DIGEST, sized(sent)))).toBe('400 DIGEST_INVALID');
      expect(await countOf(world, 'uploads')).toBe(0);
    });

    test('of another algorithm is DIGEST_INVALID, too', async () => {
      const claimed = (await contentOf('something else', 'sha512')).digest;
      const location = await begin(world);
      await patch(world, location, unsized(sent));
      expect(await refusal(await finish(world, location, claimed))).toBe('400 DIGEST_INVALID');
      expect(await refusal(await finish(world, await begin(world), claimed, unsized(sent)))).toBe('400 DIGEST_INVALID');
      expect(await refusal(await finish(world, await begin(world), claimed, sized(sent)))).toBe('400 DIGEST_INVALID');
      expect(await orphansOf(world)).toEqual([]);
    });
  });

  test('existing bytes cannot be claimed by naming them: an empty or short body is DIGEST_INVALID', async () => {
    const secret = await pushBlob(world, 'acme/private', layer(1000));
    for (const body of [{}, sized(new Uint8Array()), sized(secret.bytes.slice(0, 999)), unsized(secret.bytes.slice(0, 999))]) {
      expect(await refusal(await postWhole(world, 'acme/mine', secret.digest, body))).toBe('400 DIGEST_INVALID');
    }
    for (const body of [{}, sized(secret.bytes.slice(0, 999)), unsized(secret.bytes.slice(0, 999))]) {
      const location = await begin(world, 'acme/mine');
      expect(await refusal(await finish(world, location, secret.digest, body))).toBe('400 DIGEST_INVALID');
    }
    expect(await statusOf(world, 'GET', `/v2/acme/mine/blobs/${secret.digest}`)).toBe(404);
    expect(await pulled(world, 'acme/private', secret.digest)).toBe(secret.digest);
  });

  describe('a digest parameter', () => {
    const bad = [
      '',
      '?digest=',
      '?digest=garbage',
      '?digest=sha256:abc',
      `?digest=sha256:${'A'.repeat(64)}`,
      `?digest=sha384:${'0'.repeat(96)}`,
      `?digest=md5:${'0'.repeat(32)}`,
      `?digest=sha256:${'0'.repeat(64)}%0A`,
      `?digest=${NO_DIGEST}&digest=${NO_DIGEST}`,
    ];

    test.each(bad)('"%s" in the closing PUT is DIGEST_INVALID, and the upload stays usable', async (query) => {
      const { bytes, digest } = await contentOf(layer(30));
      const location = await begun(bytes.slice(0, 20));
      const response = await world.fetch('PUT', `${location}${query}`, sized(bytes.slice(20)));
      expect(await refusal(response)).toBe('400 DIGEST_INVALID');
      expect(await standing(world, location)).toBe('204 0-19');
      expect((await finish(world, location, digest, sized(bytes.slice(20)))).status).toBe(201);
    });

    test.each(bad.slice(1))('"%s" of a single POST is DIGEST_INVALID, and nothing is stored', async (query) => {
      const response = await world.fetch('POST', `/v2/${REPOSITORY}/blobs/uploads/${query}`, sized(layer(20)));
      expect(await refusal(response)).toBe('400 DIGEST_INVALID');
      expect(await keysOf(world)).toEqual([]);
      expect(await countOf(world, 'uploads')).toBe(0);
    });

    test.each(['sha384', 'SHA256', '__proto__', 'constructor', ''])(
      'with the algorithm "%s" announced is DIGEST_INVALID at the start',
      async (algorithm) => {
        const response = await world.fetch('POST', `/v2/${REPOSITORY}/blobs/uploads/?digest-algorithm=${algorithm}`);
        expect(await refusal(response)).toBe('400 DIGEST_INVALID');
      },
    );
  });

  describe('an upload location', () => {
    const invented = [
      'x',
      '00000000-0000-0000-0000-000000000000',
      `sha256:${'0'.repeat(64)}`,
      '...',
      'a.b.c',
      'eyJhbGciOiJub25lIn0.eyJ1cGxvYWQiOiIuLi94In0.',
      'x'.repeat(10_000),
      '__proto__',
    ];

    test.each(invented.map(shortened))('that we did not issue ($shown) is unknown for every request', async ({ value: id }) => {
      const path = `/v2/${REPOSITORY}/blobs/uploads/${id}`;
      for (const [method, query, body] of [
        ['GET', '', {}],
        ['PATCH', '', sized(layer(10))],
        ['PUT', `?digest=${NO_DIGEST}`, sized(layer(10))],
        ['DELETE', '', {}],
      ] as const) {
        expect(await refusal(await world.fetch(method, path + query, body))).toBe('404 BLOB_UPLOAD_UNKNOWN');
      }
      expect(await keysOf(world)).toEqual([]);
      expect(await countOf(world, 'uploads')).toBe(0);
    });

    test.each(['..%2f..%2fx', '%2e%2e', '%00', 'a%2fb'])('with percent-encoding (%s) is not looked at', async (id) => {
      const path = `/v2/${REPOSITORY}/blobs/uploads/${id}`;
      expect(await refusal(await world.fetch('PATCH', path, sized(layer(10))))).toMatch(/^400 NAME_INVALID$|^404 /);
      expect(await keysOf(world)).toEqual([]);
    });

    test('that was tampered with is unknown', async () => {
      const location = await begun(layer(20));
      const [header, claims, signature] = location.slice(location.lastIndexOf('/') + 1).split('.') as [string, string, string];
      const forged = btoa(JSON.stringify({ ...JSON.parse(atob(claims)), name: 'acme/other' })).replaceAll('=', '');
      const prefix = `/v2/${REPOSITORY}/blobs/uploads/`;
      for (const id of [`${header}.${forged}.${signature}`, `${header}.${claims}.${signature.slice(0, -6)}AAAAAA`, claims]) {
        expect(await statusOf(world, 'GET', prefix + id)).toBe(404);
      }
      expect(await standing(world, `${location}?_state=x&offset=5`)).toBe('204 0-19');
    });

    test('of one repository is unknown in another', async () => {
      const location = await begun(layer(20));
      const elsewhere = location.replace(REPOSITORY, 'acme/other');
      expect(await refusal(await world.fetch('GET', elsewhere))).toBe('404 BLOB_UPLOAD_UNKNOWN');
      expect(await refusal(await finish(world, elsewhere, NO_DIGEST))).toBe('404 BLOB_UPLOAD_UNKNOWN');
    });

    test('issued to somebody else is unknown', async () => {
      const upload = { id: newUploadId(Date.now()), repository: REPOSITORY, algorithm: 'sha256' } as unknown as Parameters<
        typeof sealUpload
      >[1];
      const occasion = { service: new URL(ORIGIN).host, now: Date.now() };
      const [mine, theirs] = await Promise.all(
        ['user:admin', 'user:mallory'].map((subject) => sealUpload(world.env, upload, subject, occasion)),
      );
      expect(await statusOf(world, 'GET', `/v2/${REPOSITORY}/blobs/uploads/${mine}`)).toBe(204);
      expect(await statusOf(world, 'GET', `/v2/${REPOSITORY}/blobs/uploads/${theirs}`)).toBe(404);
    });

    test('does not replace the right to push: with a token to pull, or without one, it is a 401', async () => {
      const location = await begun(layer(20));
      const occasion = { service: new URL(ORIGIN).host, now: Date.now() };
      const grants = [{ type: 'repository' as const, name: REPOSITORY, actions: ['pull' as const] }];
      const holder = { subject: 'user:admin', credentialOrigin: { epoch: 0 }, until: null };
      const { token } = await mintAccessToken(world.env, holder, grants, occasion);
      for (const authorization of [`Bearer ${token}`, null]) {
        for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
          expect(await refusal(await world.fetch(method, location, { authorization }))).toBe('401 UNAUTHORIZED');
        }
      }
      expect(await standing(world, location)).toBe('204 0-19');
    });

    test('of an expired upload is unknown', async () => {
      const location = await begun(layer(20));
      await expireAll(world);
      expect(await refusal(await world.fetch('GET', location))).toBe('404 BLOB_UPLOAD_UNKNOWN');
      expect(await refusal(await patch(world, location, sized(layer(10))))).toBe('404 BLOB_UPLOAD_UNKNOWN');
      expect(await refusal(await finish(world, location, NO_DIGEST))).toBe('404 BLOB_UPLOAD_UNKNOWN');
    });
  });

  describe('a body that ends early', () => {
    test('stores nothing, not even under the digest of the received bytes', async () => {
      const prefix = await contentOf(layer(300));
      const attempts = [
        finish(world, await begin(world), prefix.digest, truncated(prefix.bytes, 1000)),
        finish(world, await begin(world), prefix.digest, broken(prefix.bytes)),
        postWhole(world, REPOSITORY, prefix.digest, truncated(prefix.bytes, 1000)),
        postWhole(world, REPOSITORY, prefix.digest, broken(prefix.bytes)),
      ];
      for (const attempt of attempts) expect(await refusal(await attempt)).toBe('400 SIZE_INVALID');
      expect(await statusOf(world, 'HEAD', `/v2/${REPOSITORY}/blobs/${prefix.digest}`)).toBe(404);
      expect(await keysOf(world)).toEqual([]);
    });

    test('in the closing PUT leaves the upload where it was, and it can be closed', async () => {
      const { bytes, digest } = await contentOf(layer(1000));
      const location = await begun(bytes.slice(0, 400));
      const cut = await finish(world, location, digest, brokenOff(bytes.slice(400, 500), 600));
      expect(await refusal(cut)).toBe('400 SIZE_INVALID');
      expect(await standing(world, location)).toBe('204 0-399');
      expect((await finish(world, location, digest, sized(bytes.slice(400)))).status).toBe(201);
      expect(await keysOf(world, 'uploads/')).toEqual([]);
    });
  });
});

describe("a blob above the registry's maximum size", () => {
  test('is SIZE_INVALID (413) before bytes are stored, in every way to upload', async () => {
    const world = await newWorld({ VERIFY: 'storage', PART_BYTES: '65536', MAX_PUT_BYTES: '200000' });
    const { bytes, digest } = await contentOf(layer(200_001));
    const attempts = [
      postWhole(world, REPOSITORY, digest, sized(bytes)),
      postWhole(world, REPOSITORY, digest, unsized(bytes)),
      finish(world, await begin(world), digest, sized(bytes)),
      finish(world, await begin(world), digest, unsized(bytes)),
      patch(world, await begin(world), sized(bytes)),
      patch(world, await begin(world), unsized(bytes)),
    ];
    for (const attempt of attempts) expect(await refusal(await attempt)).toBe('413 SIZE_INVALID');
    expect(await keysOf(world)).toEqual([]);
    expect(await countOf(world, 'uploads')).toBe(0);
  });

  test('leaves its upload as it was: it may still be finished within the limit', async () => {
    const world = await newWorld({ VERIFY: 'storage', PART_BYTES: '65536', MAX_PUT_BYTES: '200000' });
    const { bytes, digest } = await contentOf(layer(200_000));
    const location = locationOf(await patch(world, await begin(world), sized(bytes.slice(0, 100_000))));
    for (const body of [sized(layer(100_001)), unsized(layer(100_001))]) {
      expect(await refusal(await patch(world, location, body))).toBe('413 SIZE_INVALID');
      expect(await standing(world, location)).toBe('204 0-99999');
    }
    expect((await finish(world, location, digest, unsized(bytes.slice(100_000)))).status).toBe(201);
    expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
  });

  test('is, in stream mode, one of more than 10,000 parts', async () => {
    const world = await newWorld({ VERIFY: 'stream', PART_BYTES: '10', MAX_PUT_BYTES: '20' });
    const { bytes, digest } = await contentOf(layer(100_001));
    expect(await refusal(await patch(world, await begin(world), sized(bytes)))).toBe('413 SIZE_INVALID');
    expect(await refusal(await postWhole(world, REPOSITORY, digest, sized(bytes)))).toBe('413 SIZE_INVALID');
    expect(await keysOf(world)).toEqual([]);
  });

  test('does not include one of 5 MiB with the default settings', async () => {
    const world = await newWorld();
    const { bytes, digest } = await contentOf(layer(5 * MIB));
    expect((await postWhole(world, REPOSITORY, digest, sized(bytes))).status).toBe(201);
    expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
  });
});
