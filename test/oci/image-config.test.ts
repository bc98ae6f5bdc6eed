/** Reading of image configs: instructions, steps and layers, and configs that are wrong or hostile. */
import { describe, expect, test } from 'vitest';
import { compareConfigs, compareLayers } from '../../src/oci/image-compare.ts';
import { alignHistory, instructionIn, readImageConfig, type Step } from '../../src/oci/image-config.ts';

const step = (command: string, isEmpty = false): Step => ({ command, isEmpty, buildArguments: '', comment: '' });

describe('an instruction', () => {
  test.each([
    ['RUN /bin/sh -c apk add nodejs # buildkit', 'RUN apk add nodejs', ''],
    ['RUN |2 VERSION=1 NAME=a b /bin/sh -c make all # buildkit', 'RUN make all', 'VERSION=1 NAME=a b'],
    ['|1 VERSION=1 /bin/sh -c make', 'RUN make', 'VERSION=1'],
    ['|1 VERSION=1 powershell -Command make', 'RUN powershell -Command make', 'VERSION=1'],
    ['/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]', ''],
    [`/bin/sh -c #(nop) ADD file:${'ab'.repeat(32)} in / `, 'ADD file:abababababab in /', ''],
    ['/bin/sh -c apt-get update', 'RUN apt-get update', ''],
    ['COPY dist /app # buildkit', 'COPY dist /app', ''],
    ['ENV NODE_ENV=production', 'ENV NODE_ENV=production', ''],
    ['bazel build ...', 'bazel build ...', ''],
    ['|999', '|999', ''],
    ['', '', ''],
  ])('recorded as %j is %j', (recorded, command, buildArguments) => {
    expect(instructionIn(recorded)).toEqual({ command, buildArguments });
  });
});

describe('steps and layers', () => {
  test('are put together in order, and steps without a layer stay between them', () => {
    const { rows, misfit } = alignHistory([step('ADD'), step('ENV', true), step('RUN')], ['a', 'b']);
    expect([misfit, rows.map((row) => [row.step?.command, row.layer])]).toEqual([
      null,
      [
        ['ADD', 'a'],
        ['ENV', null],
        ['RUN', 'b'],
      ],
    ]);
  });

  test.each([1, 3])('are not put together if there are %i steps for two layers', (count) => {
    const { rows, misfit } = alignHistory(
      Array.from({ length: count }, () => step('RUN')),
      ['a', 'b'],
    );
    expect(misfit).toEqual({ reason: 'mismatch', steps: count });
    expect(rows).toEqual([
      { step: null, layer: 'a' },
      { step: null, layer: 'b' },
    ]);
  });

  test('have no steps if the config has none', () => {
    expect(alignHistory([], ['a'])).toEqual({ rows: [{ step: null, layer: 'a' }], misfit: { reason: 'none' } });
    expect(alignHistory([], [])).toEqual({ rows: [], misfit: null });
  });

  test('fit if the list of layers was cut at its end', () => {
    const { rows, misfit } = alignHistory([step('A'), step('B'), step('C', true), step('D')], ['a', 'b'], false);
    expect([misfit, rows.map(({ step: of }) => of?.command)]).toEqual([null, ['A', 'B', 'C']]);
  });
});

describe('a config', () => {
  test('that is complete is read', () => {
    const config = readImageConfig(
      JSON.stringify({
        ...{ os: 'linux', architecture: 'arm64', variant: 'v8', created: '2026-11-21T10:00:00Z' },
        config: { Env: ['A=b=c', 'D'], Cmd: ['/app'], ExposedPorts: { '80/tcp': {} }, Labels: { x: 'y' }, User: '65532' },
        history: [{ created_by: 'ENV A=b=c', empty_layer: true }],
      }),
    );
    expect(config).toMatchObject({
      ...{ platform: 'linux/arm64/v8', created: 1_795_255_200, user: '65532', command: ['/app'], ports: ['80/tcp'] },
      environment: [
        ['A', 'b=c'],
        ['D', ''],
      ],
      labels: [['x', 'y']],
      history: [{ command: 'ENV A=b=c', isEmpty: true }],
    });
  });

  test.each(['', 'null', '[]', '"text"', '1', '{', '\u0000', '['.repeat(100_000)])('that is no object is not read', (text) => {
    expect(readImageConfig(text)).toBeNull();
  });

  test('with fields of other types is read as if they were absent', () => {
    const wrong = [null, 1, 'text', [], {}, [null, 1, {}], true];
    for (const value of wrong) {
      const config = { Env: value, Cmd: value, Entrypoint: value, Labels: value, User: value, Healthcheck: value };
      const document = { config, history: value, created: value, os: value, ExposedPorts: value };
      expect(readImageConfig(JSON.stringify(document))?.environment).toEqual([]);
      expect(readImageConfig(JSON.stringify({ config: value }))?.command).toEqual([]);
    }
    expect(readImageConfig('{"history":[null,1,{"created_by":1,"empty_layer":"yes"}]}')?.history).toHaveLength(3);
  });

  test('with labels called like parts of an object is read', () => {
    const config = readImageConfig('{"config":{"Labels":{"__proto__":"a","constructor":"b"}}}');
    expect(config?.labels).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
  });

  test.each(['0001-01-01T00:00:00Z', 'yesterday', '2026-99-99T00:00:00Z', '-100000-01-01T00:00:00Z'])(
    'created at %s has no time',
    (created) => {
      expect(readImageConfig(JSON.stringify({ created }))?.created).toBeNull();
    },
  );

  test('with very many entries is cut', () => {
    const config = readImageConfig(JSON.stringify({ config: { Env: Array.from({ length: 5000 }, (_, n) => `A${n}=1`) } }));
    expect(config?.environment).toHaveLength(300);
  });
});

describe('two images', () => {
  const config = (environment: [string, string][], more = {}) => {
    const read = readImageConfig('{}');
    if (read === null) throw new Error('not read');
    return { ...read, environment, ...more };
  };

  test('are compared entry by entry', () => {
    const changes = compareConfigs(
      config([
        ['A', '1'],
        ['B', '1'],
        ['C', '1'],
      ]),
      config(
        [
          ['A', '1'],
          ['B', '2'],
          ['D', '1'],
        ],
        { ports: ['80/tcp'] },
      ),
    );
    expect(changes.map(({ kind, name, from, to }) => [kind, name, from, to])).toEqual([
      ['Ports', '', null, '80/tcp'],
      ['Environment', 'A', '1', '1'],
      ['Environment', 'B', '1', '2'],
      ['Environment', 'C', '1', null],
      ['Environment', 'D', null, '1'],
    ]);
  });

  test('share layers, and the rest is what somebody must pull who has the first one', () => {
    const layer = (digest: string, size: number) => ({ digest, size });
    const base = layer('base', 100);
    const compared = compareLayers(
      { layers: [base, layer('old', 20)], config: layer('config 1', 1) },
      { layers: [base, layer('new', 30), layer('new', 30)], config: layer('config 2', 2) },
    );
    expect([compared.bytes, compared.newBytes]).toEqual([132, 32]);
    expect(compared.layers.map((one) => [one.layer.digest, one.in])).toEqual([
      ['base', 'both'],
      ['old', 'from'],
      ['new', 'to'],
      ['new', 'to'],
    ]);
  });
});
