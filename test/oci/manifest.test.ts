import { describe, expect, test } from 'vitest';
import { MANIFEST_MAX_BYTES, type Manifest, parseManifest } from '../../src/oci/manifest.ts';
import { LINEAR, slowdown } from '../world/complexity.ts';
import { CONFIG_TYPE, IMAGE_TYPE, INDEX_TYPE, LAYER_TYPE } from '../world/images.ts';

const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;
const layer = (n: number, more: Record<string, unknown> = {}) => ({
  mediaType: LAYER_TYPE,
  digest: digest(n),
  size: n,
  ...more,
});
const config = { mediaType: CONFIG_TYPE, digest: digest(1), size: 2 };
const child = (n: number, more: Record<string, unknown> = {}) => layer(n, { mediaType: IMAGE_TYPE, ...more });
const image = (more: Record<string, unknown> = {}) => ({ schemaVersion: 2, config, layers: [layer(3)], ...more });
const index = (more: Record<string, unknown> = {}) => ({ schemaVersion: 2, manifests: [child(3)], ...more });

function parse(document: unknown, contentType: string | null = IMAGE_TYPE): Manifest {
  const text = typeof document === 'string' ? document : JSON.stringify(document);
  return parseManifest(new TextEncoder().encode(text), contentType);
}

const parseIndex = (document: unknown) => parse(document, INDEX_TYPE);
const refused = expect.objectContaining({ reason: 'manifest-invalid' });

describe('an image manifest', () => {
  test('references its config and its layers, which are blobs', () => {
    const { references } = parse(image({ layers: [layer(3), layer(4)] }));
    expect(references.map(({ digest, kind, required }) => [digest, kind, required])).toEqual([
      [digest(1), 'blob', true],
      [digest(3), 'blob', true],
      [digest(4), 'blob', true],
    ]);
  });

  test('may list a layer twice, which is one reference, but not with two sizes', () => {
    expect(parse(image({ layers: [layer(3), layer(3)] })).references).toHaveLength(2);
    expect(() => parse(image({ layers: [layer(3), layer(3, { size: 4 })] }))).toThrow(refused);
  });

  test('may have no layers', () => {
    expect(parse(image({ layers: [] })).references).toHaveLength(1);
  });

  test.each([
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  ])('need not have its layer of %s here', (mediaType) => {
    const { references } = parse(image({ layers: [layer(3, { mediaType })] }));
    expect(references.map(({ required }) => required)).toEqual([true, false]);
  });

  test('requires its config, whatever type the config claims', () => {
    const foreign = { ...config, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar' };
    expect(parse(image({ config: foreign })).references[0]?.required).toBe(true);
  });

  test('has the media type it states, or that of its Content-Type', () => {
    expect(parse(image()).mediaType).toBe(IMAGE_TYPE);
    expect(parse(image({ mediaType: DOCKER_IMAGE }), DOCKER_IMAGE).mediaType).toBe(DOCKER_IMAGE);
    expect(() => parse(image({ mediaType: DOCKER_IMAGE }), IMAGE_TYPE)).toThrow('they must be the same');
    expect(() => parse(image({ mediaType: INDEX_TYPE }), IMAGE_TYPE)).toThrow('they must be the same');
  });

  test('has no children, and an index has neither config nor layers, so that no document can be read as both', () => {
    for (const both of [image({ manifests: [] }), index({ config }), index({ layers: [] }), { ...image(), ...index() }]) {
      expect(() => parse(both, IMAGE_TYPE)).toThrow(refused);
      expect(() => parse(both, INDEX_TYPE)).toThrow(refused);
    }
  });
});

describe('an index', () => {
  test('references its children, which are manifests', () => {
    expect(parseIndex(index()).references).toEqual([{ ...child(3), kind: 'manifest', required: true }]);
    expect(parse({ ...index(), mediaType: DOCKER_LIST }, DOCKER_LIST).references[0]?.kind).toBe('manifest');
  });

  test("has blobs for children whose type is no manifest, as BuildKit's cache does", () => {
    const cache = index({ manifests: [layer(3), layer(4, { mediaType: 'application/vnd.buildkit.cacheconfig.v0' })] });
    expect(parseIndex(cache).references.map(({ kind }) => kind)).toEqual(['blob', 'blob']);
  });

  test('may list a child twice, which is one reference, but not with two sizes or two types', () => {
    const platform = { os: 'linux', architecture: 'amd64' };
    expect(parseIndex(index({ manifests: [child(3), child(3, { platform })] })).references).toHaveLength(1);
    expect(() => parseIndex(index({ manifests: [child(3), child(3, { size: 4 })] }))).toThrow(refused);
    expect(() => parseIndex(index({ manifests: [child(3), child(3, { mediaType: DOCKER_IMAGE })] }))).toThrow(refused);
  });

  test('may be empty', () => {
    expect(parseIndex(index({ manifests: [] })).references).toEqual([]);
  });
});

describe('the artifact type', () => {
  test("is what the document states, else the type of an image's config, else nothing", () => {
    expect(parse(image({ artifactType: 'application/vnd.example' })).artifactType).toBe('application/vnd.example');
    expect(parse(image()).artifactType).toBe(CONFIG_TYPE);
    expect(parse(image({ artifactType: '' })).artifactType).toBe(CONFIG_TYPE);
    expect(parseIndex(index({ artifactType: 'application/vnd.example' })).artifactType).toBe('application/vnd.example');
    expect(parseIndex(index()).artifactType).toBeNull();
  });

  test.each([
    ['a number', 7],
    ['longer than any media type', 'a'.repeat(256)],
    ['megabytes', 'a'.repeat(3_000_000)],
    ['half of a surrogate pair', 'a\ud800'],
    ['text with a NUL', 'a\0b'],
    ['text with a line break', 'a\nb'],
  ])('is not %s', (_, artifactType) => {
    expect(() => parse(image({ artifactType }))).toThrow(refused);
  });
});

describe('the subject', () => {
  test('is a descriptor, of which the digest is stored', () => {
    expect(parse(image({ subject: child(9) })).subject).toBe(digest(9));
    expect(parseIndex(index({ subject: child(9) })).subject).toBe(digest(9));
    expect(parse(image()).subject).toBeNull();
  });

  test('is not a reference: it may be missing', () => {
    expect(parse(image({ subject: child(9) })).references.map((one) => one.digest)).not.toContain(digest(9));
  });

  test.each([
    ['a text', digest(9)],
    ['a list', [child(9)]],
    ['without a digest', { mediaType: IMAGE_TYPE, size: 3 }],
    ['with half a digest', child(9, { digest: 'sha256:9' })],
    ['with text in place of a digest', child(9, { digest: 'this very manifest' })],
    ['with a digest in upper case', child(9, { digest: digest(9).toUpperCase() })],
    ['without a size', child(9, { size: undefined })],
    ['without a media type', child(9, { mediaType: undefined })],
  ])('is refused when it is %s', (_, subject) => {
    expect(() => parse(image({ subject }))).toThrow(refused);
  });
});

describe('the Content-Type', () => {
  test.each([
    `${IMAGE_TYPE}; charset=utf-8`,
    `${IMAGE_TYPE} ;q=1`,
    `  ${IMAGE_TYPE}`,
    IMAGE_TYPE.toUpperCase(),
    `${IMAGE_TYPE};`,
  ])('may have parameters, space and upper case: %s', (contentType) => {
    expect(parse(image(), contentType).mediaType).toBe(IMAGE_TYPE);
  });

  test.each([
    null,
    '',
    ';',
    'text/html',
    'image/svg+xml',
    'application/javascript',
    'application/json',
    'application/octet-stream',
    `text/html, ${IMAGE_TYPE}`,
    `${IMAGE_TYPE},text/html`,
    `${IMAGE_TYPE}x`,
    'application/vnd.oci.artifact.manifest.v1+json',
    '__proto__',
    'constructor',
  ])('is refused when it is no type of a manifest: %s', (contentType) => {
    expect(() => parse(image(), contentType)).toThrow(refused);
  });

  test.each([
    'application/vnd.docker.distribution.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
  ])('of schema 1 is refused with a word about it: %s', (contentType) => {
    expect(() => parse({ schemaVersion: 1, name: 'a', tag: 'b' }, contentType)).toThrow('schema 1 is not supported');
    expect(() => parse({ schemaVersion: 1, name: 'a', tag: 'b' })).toThrow('schema 1 is not supported');
  });
});

describe('a document is refused as a manifest', () => {
  test.each([
    ['empty', ''],
    ['a page', '<html>'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a number', '2'],
    ['a text', '"{}"'],
    ['an empty object', '{}'],
    ['two documents', `${JSON.stringify(image())}{}`],
    ['after a byte order mark', `\ufeff${JSON.stringify(image())}`],
    ['with a second config', JSON.stringify(image()).replace('"layers"', '"config":{},"layers"')],
    ['with a second key inside of a descriptor', JSON.stringify(image()).replace('"size":3', '"size":3,"size":4')],
    ['with a second subject', JSON.stringify(image({ subject: child(9) })).replace(/\}$/, ',"subject":null}')],
    ['nested without end', JSON.stringify(image({ x: 0 })).replace('"x":0', `"x":${'['.repeat(10_000)}${']'.repeat(10_000)}`)],
    ['without a schemaVersion', image({ schemaVersion: undefined })],
    ['of schemaVersion "2"', image({ schemaVersion: '2' })],
    ['of schemaVersion 1', image({ schemaVersion: 1 })],
    ['of schemaVersion 3', image({ schemaVersion: 3 })],
    ['without a config', image({ config: undefined })],
    ['with a list of configs', image({ config: [config] })],
    ['with layers that are an object', image({ layers: { 0: layer(3), length: 1 } })],
    ['with a layer that is null', image({ layers: [null] })],
    ['with a layer that is a text', image({ layers: [digest(3)] })],
    ['with a mediaType that is a list', image({ mediaType: [IMAGE_TYPE] })],
    ['with an empty mediaType', image({ mediaType: '' })],
    ['with annotations that are a list', image({ annotations: ['a'] })],
    ['with an annotation that is a number', image({ annotations: { a: 1 } })],
    ['with an annotation of a layer that is an object', image({ layers: [layer(3, { annotations: { a: {} } })] })],
  ])('when it is %s', (_, document) => {
    expect(() => parse(document)).toThrow(refused);
  });

  test.each<[string, unknown]>([
    ['below zero', -1],
    ['a fraction', 1.5],
    ['a text', '12'],
    ['beyond what numbers hold', 2 ** 53],
    ['astronomic', 1e30],
    ['null', null],
    ['a list', [3]],
    ['not there', undefined],
  ])('when a size is %s', (_, size) => {
    expect(() => parse(image({ layers: [layer(3, { size })] }))).toThrow(refused);
    expect(() => parse(image({ config: { ...config, size } }))).toThrow(refused);
    expect(() => parseIndex(index({ manifests: [child(3, { size })] }))).toThrow(refused);
  });

  test.each<[string, Record<string, unknown>]>([
    ['a digest that is none', { digest: 'sha256:zz' }],
    ['a digest of an algorithm we do not have', { digest: `md5:${'0'.repeat(32)}` }],
    ['a digest that is a list', { digest: [digest(3)] }],
    ['no digest', { digest: undefined }],
    ['no media type', { mediaType: undefined }],
    ['an empty media type', { mediaType: '' }],
    ['a media type without a subtype', { mediaType: 'application' }],
    ['a media type with a line break', { mediaType: 'application/x\nset-cookie: a' }],
    ['a media type with a NUL', { mediaType: 'application/x\0' }],
    ['a media type with half of a surrogate pair', { mediaType: 'application/x\ud800' }],
    ['a media type without end', { mediaType: `a/${'b'.repeat(1000)}` }],
    ['urls that are no list', { urls: 'https://example.com' }],
    ['urls that are no texts', { urls: [1] }],
    ['data that is no text', { data: {} }],
  ])('when a descriptor has %s', (_, wrong) => {
    expect(() => parse(image({ layers: [layer(3, wrong)] }))).toThrow(refused);
    expect(() => parseIndex(index({ manifests: [child(3, wrong)] }))).toThrow(refused);
  });
});

describe("Go's empty values:", () => {
  const EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  const absent = { mediaType: null, annotations: null, subject: null, artifactType: null };
  const inside = { urls: null, annotations: null, data: null, artifactType: null, platform: null };

  test.each<[string, unknown]>([
    ['layers that are null', image({ layers: null })],
    ['layers that are left out', image({ layers: undefined })],
    ['manifests that are null, in an image', image({ manifests: null })],
    ['every optional field as null', image({ ...absent, manifests: null, layers: [layer(3, inside)] })],
    ['every optional field of the config as null', image({ config: { ...config, ...inside } })],
    ['an empty config without its size', image({ config: { ...config, digest: EMPTY, size: undefined } })],
    ['an empty config whose size is null', image({ config: { ...config, digest: EMPTY, size: null } })],
    ['an empty layer without its size', image({ layers: [layer(3, { digest: EMPTY, size: undefined })] })],
  ])('is nothing in an image with %s', (_, document) => {
    expect(parse(document)).toMatchObject({ mediaType: IMAGE_TYPE, artifactType: CONFIG_TYPE, subject: null });
  });

  test.each<[string, unknown]>([
    ['manifests that are null', index({ manifests: null })],
    ['manifests that are left out', index({ manifests: undefined })],
    ['config and layers that are null', index({ config: null, layers: null })],
    ['every optional field as null', index({ ...absent, manifests: [child(3, inside)] })],
  ])('is nothing in an index with %s', (_, document) => {
    expect(parseIndex(document)).toMatchObject({ mediaType: INDEX_TYPE, artifactType: null, subject: null });
  });

  test.each<[string, unknown]>([
    ['config is missing', image({ config: null })],
    ['config is missing', image({ config: undefined })],
    ['layers[0].size is missing: only empty content may leave it out', image({ layers: [layer(3, { size: null })] })],
    ['layers[0].mediaType must be a media type', image({ layers: [layer(3, { mediaType: null })] })],
    ['layers[0].digest must be sha256: and 64 hex digits, or sha512: and 128', image({ layers: [layer(3, { digest: null })] })],
    ['layers[0] is missing', image({ layers: [null] })],
    ['schemaVersion must be 2', image({ schemaVersion: null })],
  ])('is not enough where there has to be something: %s', (message, document) => {
    expect(() => parse(document)).toThrow(message);
  });
});

describe('an error names', () => {
  test.each<[string, string, unknown]>([
    ['the annotation', 'annotations["org.example"] must be a string', image({ annotations: { ok: 'a', 'org.example': 7 } })],
    ['the annotation that is null', 'annotations["a"] must be a string', image({ annotations: { a: null } })],
    [
      'the layer and its annotation',
      'layers[1].annotations["x"] must be',
      image({ layers: [layer(3), layer(4, { annotations: { x: [] } })] }),
    ],
    [
      'the config and its annotation',
      'config.annotations["x"] must be',
      image({ config: { ...config, annotations: { x: 1 } } }),
    ],
    [
      'the subject and its annotation',
      'subject.annotations["x"] must be',
      image({ subject: layer(3, { annotations: { x: 1 } }) }),
    ],
    ['the url', 'layers[0].urls[1] must be a string', image({ layers: [layer(3, { urls: ['a', 1] })] })],
    ['the type that was stated', `mediaType is "${DOCKER_IMAGE}", and`, image({ mediaType: DOCKER_IMAGE })],
    [
      'the key that is repeated',
      'an object repeats a key: "layers"',
      '{"schemaVersion":2,"layers":[],"config":{"a":{}},"layers":[]}',
    ],
    ['the key that is repeated within', 'repeats a key: "b"', '{"a":[{"b":1},{"b":2,"c":{"b":1},"b":3}]}'],
  ])('%s', (_, message, document) => {
    expect(() => parse(document)).toThrow(message);
  });

  test('no more of a key than is needed to find it', () => {
    for (const key of ['k'.repeat(100_000), '\u20ac'.repeat(50_000)]) {
      try {
        parse(image({ annotations: { [key]: 1 } }));
        expect.unreachable();
      } catch (error) {
        expect((error as Error).message.length).toBeLessThan(200);
      }
    }
  });
});

describe('a withdrawn media type', () => {
  test.each([
    ['application/vnd.oci.artifact.manifest.v1+json', 'artifact manifests'],
    ['application/vnd.cncf.oras.artifact.manifest.v1+json', 'artifact manifests'],
    ['application/vnd.docker.distribution.manifest.v1+json', 'schema 1'],
    ['application/vnd.docker.distribution.manifest.v1+prettyjws', 'schema 1'],
  ])('%s is refused with what it is, in Content-Type and in mediaType', (type, what) => {
    expect(() => parse(image(), type)).toThrow(what);
    expect(() => parse(image({ mediaType: type }))).toThrow(what);
    // An artifact manifest has no schemaVersion, so none is required.
    expect(() => parse({ mediaType: type, artifactType: 'application/x', blobs: [] })).toThrow(what);
  });

  test('is recognized by its version, too', () => {
    expect(() => parse(image({ schemaVersion: 1 }))).toThrow('schema 1');
  });
});

test("other fields of a manifest are accepted, also those named like Object.prototype's", () => {
  const text = '{"__proto__":{"layers":[]},"constructor":1,"x":[{"y":null}],';
  const document = `${text}${JSON.stringify(image({ annotations: { __proto__x: 'a', constructor: 'b' } })).slice(1)}`;
  expect(parse(document).text).toBe(document);
  expect(parse(document).references).toHaveLength(2);
});

test('inline data in a descriptor is not trusted: it may be wrong, and huge', () => {
  const { references } = parse(image({ layers: [layer(3, { data: 'bm90IGl0' }), layer(4, { data: 'A'.repeat(1_000_000) })] }));
  expect(references[1]).toEqual({ digest: digest(3), size: 3, mediaType: LAYER_TYPE, kind: 'blob', required: true });
});

/** Documents with much structure. The number is the largest size in bytes at which such a document is still accepted. */
test.each<[string, (size: number) => Record<string, unknown>, number]>([
  ['layers that differ', (size) => image({ layers: Array.from({ length: size / 150 }, (_, n) => layer(n + 2)) }), 2 ** 21],
  ['one layer named again and again', (size) => image({ layers: Array.from({ length: size / 150 }, () => layer(3)) }), 2 ** 21],
  [
    'annotations',
    (size) => image({ annotations: Object.fromEntries(Array.from({ length: size / 20 }, (_, n) => [n, 'x'])) }),
    2 ** 20,
  ],
  ['one long annotation', (size) => image({ annotations: { a: '\\"'.repeat(size / 4) } }), MANIFEST_MAX_BYTES],
  ['fields nobody knows', (size) => image({ x: Array.from({ length: size / 10 }, () => ({ a: 1 })) }), 2 ** 18],
])('a manifest is read in linear time up to the largest there may be: %s', { tags: 'slow' }, (_, make, largest) => {
  const work = (size: number) => {
    const bytes = new TextEncoder().encode(JSON.stringify(make(size)));
    return () => void parseManifest(bytes, IMAGE_TYPE);
  };
  expect(slowdown(work, largest / 1024, largest)).toBeLessThan(LINEAR);
});
