/** Shows the differences of two images: bytes to pull, configurations, and layers. */
import type { WholeImageDetails } from '../../../app/images.ts';
import { type ConfigChange, compareConfigs, compareLayers, type LayerComparison } from '../../../oci/image-compare.ts';
import { alignHistory, type ImageConfig, readImageConfig } from '../../../oci/image-config.ts';
import { imageAt } from '../parts/addresses.ts';
import { type Column, Table } from '../parts/table.tsx';
import { Bar, Bytes, bytesText, Chip, countText, Digest, Foreign, When } from '../parts/text.tsx';

interface Names {
  from: string;
  to: string;
}

interface ComparisonProps {
  repository: string;
  names: Names;
  from: WholeImageDetails;
  to: WholeImageDetails;
}

export function Comparison({ repository, names, from, to }: ComparisonProps) {
  const [before, after] = [configOf(from), configOf(to)];
  const layers = compareLayers(from, to);
  return (
    <>
      <Summary {...{ repository, names, from, to, before, after, layers }} />
      <Configurations names={names} changes={compareConfigs(before, after)} />
      <Layers names={names} layers={layers} steps={new Map([...stepsOf(from, before), ...stepsOf(to, after)])} />
    </>
  );
}

function configOf({ kind, configText }: WholeImageDetails): ImageConfig | null {
  return kind !== 'image' || configText === null ? null : readImageConfig(configText);
}

/** Returns the build step of each layer. */
function stepsOf({ layers, truncated }: WholeImageDetails, config: ImageConfig | null): [string, string][] {
  const { rows } = alignHistory(config?.history ?? [], layers, !truncated);
  return rows.flatMap(({ step, layer }) => (step && layer ? [[layer.digest, step.command] as [string, string]] : []));
}

type Layer = WholeImageDetails['layers'][number];

interface SummaryProps extends ComparisonProps {
  before: ImageConfig | null;
  after: ImageConfig | null;
  layers: LayerComparison<Layer>;
}

function Summary({ repository, names, from, to, before, after, layers: { bytes, newBytes } }: SummaryProps) {
  return (
    <div class="panel">
      <p class="strong">
        Who has {names.from} pulls {bytesText(newBytes)} of {bytesText(bytes)} to get {names.to}.
      </p>
      <Bar share={bytes === 0 ? 0 : newBytes / bytes} label={`${bytesText(newBytes)} of ${bytesText(bytes)} are new`} />
      <dl class="facts">
        <dt>From</dt>
        <dd>
          <Digest digest={from.digest} href={imageAt(repository, from.digest)} /> <Bytes value={from.size} />, built{' '}
          <When at={before?.created ?? null} none="at a time that is not stated" />
        </dd>
        <dt>To</dt>
        <dd>
          <Digest digest={to.digest} href={imageAt(repository, to.digest)} /> <Bytes value={to.size} />, built{' '}
          <When at={after?.created ?? null} none="at a time that is not stated" />
        </dd>
      </dl>
    </div>
  );
}

/** The maximum number of entries that a page lists. */
const ENTRIES_MAX = 300;

function Configurations({ names, changes }: { names: Names; changes: ConfigChange[] }) {
  const different = changes.filter(({ from, to }) => from !== to);
  const equal = changes.filter(({ from, to }) => from === to);
  return (
    <section aria-labelledby="configuration">
      <h2 id="configuration">
        Configuration <span class="soft count">{countText(different.length, 'difference')}</span>
      </h2>
      {different.length === 0 ? (
        <p class="soft">No difference.</p>
      ) : (
        <Table
          caption="Differences of the configuration"
          columns={changeColumns(names)}
          items={different.slice(0, ENTRIES_MAX)}
        />
      )}
      {equal.length === 0 ? null : (
        <details class="folded">
          <summary>{equal.length === 1 ? '1 entry is equal' : `${equal.length} entries are equal`}</summary>
          <Table caption="Equal entries" columns={equalColumns} items={equal.slice(0, ENTRIES_MAX)} />
        </details>
      )}
    </section>
  );
}

/** The maximum number of characters of a value. */
const VALUE_MAX = 500;

function EntryName({ change: { kind, name } }: { change: ConfigChange }) {
  return name === '' ? (
    <span>{kind}</span>
  ) : (
    <span>
      {kind}{' '}
      <code>
        <Foreign text={name} max={VALUE_MAX} />
      </code>
    </span>
  );
}

function Value({ value, none }: { value: string | null; none: string }) {
  if (value === null) return <span class="soft">{none}</span>;
  return (
    <code class="value">
      <Foreign text={value} max={VALUE_MAX} />
    </code>
  );
}

function changeColumns(names: Names): Column<ConfigChange>[] {
  return [
    {
      head: 'Entry',
      cell: (change) => (
        <>
          <EntryName change={change} />
          <Chip tone={change.from === null ? 'good' : change.to === null ? 'bad' : 'warn'}>{changeWord(change)}</Chip>
        </>
      ),
    },
    { head: names.from, cell: ({ from }) => <Value value={from} none="not set" /> },
    { head: names.to, cell: ({ to }) => <Value value={to} none="gone" /> },
  ];
}

function changeWord({ from, to }: ConfigChange): string {
  if (from === null) return 'added';
  return to === null ? 'removed' : 'changed';
}

const equalColumns: Column<ConfigChange>[] = [
  { head: 'Entry', cell: (change) => <EntryName change={change} /> },
  { head: 'Value', cell: ({ from }) => <Value value={from} none="not set" /> },
];

type ComparedLayer = LayerComparison<Layer>['layers'][number];

/** The maximum number of rows on a page. */
const LAYERS_MAX = 200;

function Layers({
  names,
  layers: { layers },
  steps,
}: {
  names: Names;
  layers: LayerComparison<Layer>;
  steps: Map<string, string>;
}) {
  const largest = Math.max(1, ...layers.map(({ layer }) => layer.size));
  const words = { both: 'in both', from: `only in ${names.from}`, to: `only in ${names.to}` };
  const tones = { both: 'plain', from: 'bad', to: 'good' } as const;
  const columns: Column<ComparedLayer>[] = [
    {
      head: 'Step',
      cell: ({ layer }) => (
        <code class="instruction">
          <Foreign text={steps.get(layer.digest) ?? layer.mediaType} max={STEP_MAX} />
        </code>
      ),
    },
    { head: 'Where', cell: ({ in: where }) => <Chip tone={tones[where]}>{words[where]}</Chip> },
    {
      head: 'Size',
      cell: ({ layer }) => (
        <span class="sized">
          <Bar share={layer.size / largest} label={`${bytesText(layer.size)} of ${bytesText(largest)}, the largest`} />
          <Bytes value={layer.size} />
        </span>
      ),
    },
    { head: 'Digest', cell: ({ layer }) => <Digest digest={layer.digest} /> },
  ];
  return (
    <section aria-labelledby="layers">
      <h2 id="layers">
        Layers <span class="soft count">{countText(layers.filter((one) => one.in === 'both').length, 'layer')} shared</span>
      </h2>
      {layers.length === 0 ? (
        <p class="soft">Neither has layers.</p>
      ) : (
        <Table caption="Layers of both" columns={columns} items={layers.slice(0, LAYERS_MAX)} />
      )}
      {layers.length > LAYERS_MAX ? <p class="hint">The first {LAYERS_MAX} are shown.</p> : null}
    </section>
  );
}

/** The maximum number of characters of a build step. */
const STEP_MAX = 200;
