/** Pages of images: what they show, for whom, and that texts from an image are shown as text. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
import { counting } from '../../world/counting.ts';
import {
  CONFIG_TYPE,
  type Content,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  LAYER_TYPE,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { makeAcme, makeTeam } from '../../world/organizations.ts';
import { api, type Person } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const HOSTILE = '"><script>window.attacked=1</script>\u202Egnp.\u0007';
const REPOSITORY = 'acme/api';
const PAGE = `/repositories/${REPOSITORY}/-`;

let owner: Person;
let reader: Person;
let outsider: Person;
let v1: Content;
const fresh = builtOnce(async (built) => {
  ({ owner, outsider, member: reader } = await makeAcme(built));
  await makeTeam(built, 'acme', 'readers', [reader], [{ effect: 'allow', actions: ['pull'], repositories: [REPOSITORY] }]);
  v1 = await pushImage(built, REPOSITORY, 'v1');
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

/** Pushes an image with this config and returns its page. */
async function pageOf(config: unknown, layers = 2, more: object = {}): Promise<string> {
  const text = typeof config === 'string' ? config : JSON.stringify(config);
  const blob = await pushBlob(world, REPOSITORY, text);
  const contents: Content[] = [];
  for (let n = 0; n < layers; n++) contents.push(await pushBlob(world, REPOSITORY, `layer ${n}`));
  const document = {
    ...{ schemaVersion: 2, mediaType: IMAGE_TYPE, config: descriptorOf(blob, CONFIG_TYPE) },
    ...{ layers: contents.map((layer) => descriptorOf(layer, LAYER_TYPE)), ...more },
  };
  expect((await putManifest(world, REPOSITORY, 'built', document)).status).toBe(201);
  return (await browserOf(world, owner.name, owner.secret)).page(`${PAGE}/tags/built`);
}

const steps = (count: number) => Array.from({ length: count }, (_, n) => ({ created_by: `RUN step ${n} # buildkit` }));

describe('the page of an image', () => {
  test('shows the layers with their steps, the configuration, and how to pull it', async () => {
    const page = await pageOf({
      ...{ os: 'linux', architecture: 'arm64', created: '2026-11-21T10:00:00Z' },
      history: [...steps(2), { created_by: 'ENV COLOUR=red', empty_layer: true }],
      config: { Env: ['COLOUR=red'], Cmd: ['/app', '-x'], Labels: { source: 'https://example.com/x', bad: 'javascript:x' } },
    });
    for (const text of [
      'docker pull registry.test/acme/api:built',
      'docker pull registry.test/acme/api@sha256:',
      '<bdi>RUN step 1</bdi>',
      '<bdi>ENV COLOUR=red</bdi>',
      'no layer',
      'only here',
      'linux/arm64',
      '[&quot;/app&quot;, &quot;-x&quot;]',
      '<a href="https://example.com/x" rel="nofollow noopener noreferrer ugc">',
      'datetime="2026-11-21T10:00:00.000Z"',
    ]) {
      expect(page).toContain(text);
    }
    expect(page).not.toContain('href="javascript:');
  });

  test('shows layers without steps if the history does not fit, and says why', async () => {
    const page = await pageOf({ history: steps(3) });
    expect(page).toContain('3 steps of the config made a layer, and the image has 2 layers');
    expect(page).not.toContain('RUN step');
  });

  test.each(['not json', '[]', '{"history":{"length":9},"config":"x","created":5}', '{"config":{"Env":[null,{"a":1}]}}'])(
    'is there for the config %j',
    async (config) => {
      expect(await pageOf(config)).toContain('<h2 id="layers">');
    },
  );

  test('shows hostile texts as text', async () => {
    const config = { Env: [HOSTILE, `A=${HOSTILE}`], Labels: { [HOSTILE]: HOSTILE }, Cmd: [HOSTILE], User: HOSTILE };
    const history = [{ created_by: HOSTILE }, { comment: HOSTILE }];
    const document = { os: HOSTILE, architecture: HOSTILE, author: HOSTILE, history, config };
    const page = await pageOf(document, 2, { annotations: { [HOSTILE]: HOSTILE } });
    for (const text of ['<script>', '\u202e', '\u0007']) expect(page).not.toContain(text);
    expect(page.match(/&lt;script&gt;/g)?.length).toBeGreaterThan(10);
  });

  test('of several platforms shows one of them, and leads to the others', async () => {
    const [amd64, arm64] = [await imageIn(world, REPOSITORY, 2), await imageIn(world, REPOSITORY, 3)];
    const attestation = await imageIn(world, REPOSITORY, 4);
    for (const image of [amd64, arm64, attestation]) await putManifest(world, REPOSITORY, image.digest, textOf(image));
    const platform = (architecture: string) => ({ platform: { os: 'linux', architecture } });
    const manifests = [
      descriptorOf(arm64, IMAGE_TYPE, platform('arm64')),
      descriptorOf(amd64, IMAGE_TYPE, platform('amd64')),
      descriptorOf(attestation, IMAGE_TYPE, {
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': arm64.digest },
      }),
    ];
    await putManifest(world, REPOSITORY, 'multi', { schemaVersion: 2, mediaType: INDEX_TYPE, manifests }, INDEX_TYPE);
    const browser = await browserOf(world, reader.name, reader.secret);
    const first = await browser.page(`${PAGE}/tags/multi`);
    expect(first).toMatch(/aria-current="true"><bdi>linux\/amd64/);
    expect(first).not.toContain('unknown/unknown');
    const other = await browser.page(`${PAGE}/tags/multi?platform=linux%2Farm64`);
    expect(other).toMatch(/aria-current="true"><bdi>linux\/arm64/);
    expect(other).toContain('docker pull --platform linux/arm64 registry.test/acme/api:multi');
    expect(other).toContain(`${PAGE}/images/${arm64.digest}/referrers/${attestation.digest}`);
    expect(await browser.page(`${PAGE}/tags/multi?platform=${HOSTILE}`)).toContain('This image has no such platform');
  });

  test('lists what is attached by its subject and by a tag', async () => {
    const subject = descriptorOf(v1, IMAGE_TYPE);
    const sbom = await pushImage(world, REPOSITORY, null, 5, { artifactType: 'application/spdx+json', subject });
    const signature = await pushImage(world, REPOSITORY, `${v1.digest.replace(':', '-')}.sig`, 6);
    const page = await (await browserOf(world, reader.name, reader.secret)).page(`${PAGE}/images/${v1.digest}`);
    expect(page).toContain('1 signature, 1 SBOM');
    for (const { digest } of [sbom, signature]) expect(page).toContain(digest);
  });

  test('offers to delete only to those who may', async () => {
    const may = await (await browserOf(world, owner.name, owner.secret)).page(`${PAGE}/tags/v1`);
    const mayNot = await (await browserOf(world, reader.name, reader.secret)).page(`${PAGE}/tags/v1`);
    expect([may.includes('/-/deletion'), mayNot.includes('/-/deletion')]).toEqual([true, false]);
  });

  test.each<[string, string[], string, string]>([
    ['IMMUTABLE', [], 'Immutable', 'All tags of this repository are immutable<'],
    ['IMMUTABLE_WITH_EXCLUSION', ['latest', 'dev-*'], 'Immutable', 'are immutable, but those like latest, dev-*<'],
    [
      'IMMUTABLE_WITH_EXCLUSION',
      ['dev-*', 'v*'],
      'Can be moved',
      'All tags of this repository are immutable, but those like v* are not<',
    ],
    ['MUTABLE_WITH_EXCLUSION', ['x', 'v1'], 'Immutable', 'Tags like v1 of this repository are immutable<'],
    ['MUTABLE_WITH_EXCLUSION', ['release-*'], 'Can be moved', 'Only tags like release-* of this repository are immutable<'],
  ])('by a tag says whether the tag is immutable, and why: %s %j', async (value, filters, title, why) => {
    const setting = {
      imageTagMutability: value,
      ...(filters.length > 0
        ? { imageTagMutabilityExclusionFilters: filters.map((filter) => ({ filterType: 'WILDCARD', filter })) }
        : {}),
    };
    const browser = await browserOf(world, owner.name, owner.secret);
    expect(await browser.page(`${PAGE}/tags/v1`)).not.toContain('<dt>Immutable</dt>');
    await api(world, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, { body: setting });
    const page = await browser.page(`${PAGE}/tags/v1`);
    expect(page).toContain(`<dt>${title}</dt><dd>`);
    expect(page).toContain(why);
    expect([page.includes('</svg> immutable'), page.includes('/-/deletion')]).toEqual(
      title === 'Immutable' ? [true, false] : [false, true],
    );
    expect(await browser.page(`${PAGE}/images/${v1.digest}`)).not.toContain(`<dt>${title}</dt>`);
  });

  test('is absent for others, in the same way as one that does not exist', async () => {
    const browser = await browserOf(world, outsider.name, outsider.secret);
    for (const path of ['tags/v1', `images/${v1.digest}`, `images/${v1.digest}/raw`, 'tags/v2']) {
      const response = await browser.get(`${PAGE}/${path}`);
      expect([response.status, (await response.text()).includes('acme/api</')]).toEqual([404, false]);
    }
    const known = await browserOf(world, reader.name, reader.secret);
    expect((await known.get(`${PAGE}/tags/none`)).status).toBe(404);
    expect((await known.get(`${PAGE}/images/sha256:1`)).status).toBe(400);
  });
});

test('a manifest is shown as it was pushed, with links to what it lists', async () => {
  const subject = descriptorOf(v1, IMAGE_TYPE);
  const { digest } = await pushImage(world, REPOSITORY, null, 7, { subject, annotations: { a: HOSTILE } });
  const page = await (await browserOf(world, reader.name, reader.secret)).page(`${PAGE}/images/${digest}/raw`);
  expect(page).toContain(`<a href="${PAGE}/images/${v1.digest}">&quot;${v1.digest}&quot;</a>`);
  expect(page).not.toMatch(/<script>|\u202e/u);
});

describe('two images', () => {
  const image = async (tag: string, seed: number, config: object) => {
    const blob = await pushBlob(world, REPOSITORY, JSON.stringify({ config, history: steps(2) }));
    const layers = [
      await pushBlob(world, REPOSITORY, 'b'.repeat(3000)),
      await pushBlob(world, REPOSITORY, 'x'.repeat(1000 * seed)),
    ];
    const document = {
      ...{ schemaVersion: 2, mediaType: IMAGE_TYPE, config: descriptorOf(blob, CONFIG_TYPE) },
      layers: layers.map((layer) => descriptorOf(layer, LAYER_TYPE)),
    };
    await putManifest(world, REPOSITORY, tag, document);
  };

  test('are compared: what to pull, what is configured, which layers', async () => {
    await image('a', 5, { Env: ['SAME=1', 'LEVEL=debug', HOSTILE] });
    await image('b', 7, { Env: ['SAME=1', 'LEVEL=info'], User: '65532' });
    const browser = await browserOf(world, reader.name, reader.secret);
    const page = await browser.page(`${PAGE}/compare?from=a&to=b`);
    for (const text of [
      'Who has a pulls 7.1 kB of 10 kB',
      '3 differences',
      'debug',
      '65532',
      '1 entry is equal',
      '1 layer shared',
    ]) {
      expect(page).toContain(text);
    }
    expect(page).not.toMatch(/<script>|\u202e/u);
    const selected = await browser.page(`${PAGE}/compare?tag=b&tag=a`);
    expect(selected).toContain('Who has a pulls');
    expect(await browser.page(`${PAGE}/compare?from=a&to=a`)).toContain('Both are the same image');
  });

  test('are asked for if they are not named, and are missing if they are not there', async () => {
    const browser = await browserOf(world, reader.name, reader.secret);
    expect(await browser.page(`${PAGE}/compare?to=v1`)).toContain('<option value="v1">');
    const response = await browser.get(`${PAGE}/compare?from=none&to=v1`);
    expect([response.status, (await response.text()).includes('There is no tag none in acme/api')]).toEqual([404, true]);
    expect((await browser.get(`${PAGE}/compare?from=%3Cscript%3E&to=sha256:1`)).status).toBe(404);
    const other = await browserOf(world, outsider.name, outsider.secret);
    expect((await other.get(`${PAGE}/compare?from=v1&to=v1`)).status).toBe(404);
  });
});

describe('what is attached to an image', () => {
  const attach = async (content: string, mediaType: string) => {
    const layer = await pushBlob(world, REPOSITORY, content);
    const layers = [descriptorOf(layer, mediaType)];
    const { digest } = await pushImage(world, REPOSITORY, null, 8, { layers, subject: descriptorOf(v1, IMAGE_TYPE) });
    return `${PAGE}/images/${v1.digest}/referrers/${digest}`;
  };

  test('is an SBOM with its packages, which can be searched', async () => {
    const packages = [
      { name: 'libfoo', versionInfo: '1.2', licenseConcluded: 'MIT' },
      { name: HOSTILE, versionInfo: HOSTILE, licenseConcluded: HOSTILE },
    ];
    const path = await attach(JSON.stringify({ spdxVersion: 'SPDX-2.3', name: HOSTILE, packages }), 'application/spdx+json');
    const browser = await browserOf(world, reader.name, reader.secret);
    const page = await browser.page(path);
    for (const text of ['<h2>SBOM</h2>', 'SPDX 2.3', '2 packages', 'libfoo']) expect(page).toContain(text);
    expect(page).not.toMatch(/<script>|\u202e/u);
    const found = await browser.page(`${path}?search=LIBFOO`);
    expect(found.slice(found.indexOf('data-results'), found.indexOf('The document'))).not.toContain('&lt;script&gt;');
    expect((await (await browserOf(world, outsider.name, outsider.secret)).get(path)).status).toBe(404);
  });

  test('is shown as text if it is something else, and not at all if it is too long or no text', async () => {
    const browser = await browserOf(world, reader.name, reader.secret);
    expect(await browser.page(await attach('just words', 'text/plain'))).toContain('just words');
    expect(await browser.page(await attach('x'.repeat(1024 * 1024 + 1), 'text/plain'))).toContain('longer than 1.0 MB');
  });
});

test('the pages of images read little, however much the repository holds', async () => {
  await pageOf({ os: 'linux', architecture: 'amd64', history: steps(60) }, 60);
  const { cookie } = await browserOf(world, reader.name, reader.secret);
  const cost = async (path: string) => {
    const { env, counts } = counting(world.env);
    const browser = new Browser(worldOf(env));
    browser.cookie = cookie;
    await browser.page(path);
    return counts;
  };
  const image = await cost(`${PAGE}/tags/built`);
  expect([image.r2Reads, image.rowsWritten]).toEqual([1, 0]);
  expect(image.d1).toBeLessThanOrEqual(5);
  expect(image.rowsRead).toBeLessThanOrEqual(200 + 10 * 60);
  const compared = await cost(`${PAGE}/compare?from=v1&to=built`);
  expect([compared.r2Reads, compared.rowsWritten]).toEqual([2, 0]);
  expect(compared.rowsRead).toBeLessThanOrEqual(2 * (200 + 10 * 60));
});
