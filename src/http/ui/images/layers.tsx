/** Lists the layers of an image with their sizes, the build steps that made them, and the number of images that share them. */
import type { FC } from 'hono/jsx';
import type { WholeImageDetails } from '../../../app/images.ts';
import { alignHistory, type BuildRow, type ImageConfig, type Misfit, type Step } from '../../../oci/image-config.ts';
import { repositoryAt } from '../parts/addresses.ts';
import { type Column, Table } from '../parts/table.tsx';
import { Bar, Bytes, bytesText, countText, Digest, Foreign } from '../parts/text.tsx';

type Layer = WholeImageDetails['layers'][number];
type Row = BuildRow<Layer>;

/** The maximum number of rows on a page. docker makes images with up to 127 layers; others may have more. */
const ROWS_MAX = 128;
/** The maximum number of characters of all build steps together, and of one build step. */
const STEPS_LENGTH_MAX = 20_000;
const STEP_MAX = 4000;

export const Layers: FC<{ name: string; image: WholeImageDetails; config: ImageConfig | null }> = ({ name, image, config }) => {
  const { layers, kind, truncated, sharedMax } = image;
  const { rows, misfit } = alignHistory(kind === 'image' ? (config?.history ?? []) : [], layers, !truncated);
  const shown = rows.slice(0, ROWS_MAX);
  const largest = Math.max(1, ...layers.map(({ size }) => size));
  const length = Math.min(STEP_MAX, Math.floor(STEPS_LENGTH_MAX / Math.max(1, shown.length)));
  return (
    <section aria-labelledby="layers">
      <h2 id="layers">
        {kind === 'artifact' ? 'Content' : 'Layers'} <span class="soft count">{layers.length}</span>
      </h2>
      {misfit !== null && kind === 'image' ? <p class="hint">{misfitText(misfit, layers.length, config)}</p> : null}
      {shown.length === 0 ? (
        <p class="soft">It has no layers.</p>
      ) : (
        <Table
          caption="Layers, the lowest first"
          columns={columnsOf({ name, largest, length, sharedMax, isArtifact: kind === 'artifact' })}
          items={shown}
          rowClass={({ layer }) => (layer === null ? 'quiet' : undefined)}
        />
      )}
      {rows.length > ROWS_MAX ? (
        <p class="hint">
          The first {ROWS_MAX} of {rows.length.toLocaleString('en')} are shown.
        </p>
      ) : null}
      <Alone image={image} />
    </section>
  );
};

function misfitText(misfit: Misfit, layers: number, config: ImageConfig | null): string {
  if (config === null) return 'The steps that made the layers are not known: the config of this image cannot be read.';
  if (misfit.reason === 'none') return 'The steps that made the layers are not known: the config has no history.';
  const [made, there] = [countText(misfit.steps, 'step'), countText(layers, 'layer')];
  return `The steps are not shown: ${made} of the config made a layer, and the image has ${there}. Nobody can tell which fit.`;
}

function Alone({ image: { bytesInAll, bytesAlone } }: { image: WholeImageDetails }) {
  if (bytesAlone === null || bytesInAll === null) return null;
  if (bytesAlone === bytesInAll) {
    return <p>This image alone keeps all of its {bytesText(bytesInAll)}: it shares nothing in this repository.</p>;
  }
  return (
    <p>
      This image alone keeps <Bytes value={bytesAlone} />. The other <Bytes value={bytesInAll - bytesAlone} /> it shares with
      other images of this repository.
    </p>
  );
}

interface Shown {
  name: string;
  largest: number;
  length: number;
  sharedMax: number;
  isArtifact: boolean;
}

function columnsOf({ name, largest, length, sharedMax, isArtifact }: Shown): Column<Row>[] {
  return [
    { head: isArtifact ? 'Type' : 'Step', cell: (row) => <StepOf row={row} length={length} /> },
    { head: 'Size', cell: ({ layer }) => <SizeOf layer={layer} largest={largest} /> },
    {
      head: 'Shared',
      cell: ({ layer }) => (layer === null ? '' : <span class="nowrap">{sharedText(layer.sharedBy, sharedMax)}</span>),
    },
    {
      head: 'Digest',
      cell: ({ layer }) => (layer === null ? '' : <LayerDigest {...{ name, isArtifact }} digest={layer.digest} />),
    },
  ];
}

function StepOf({ row: { step, layer }, length }: { row: Row; length: number }) {
  if (step !== null) return <StepText step={step} length={length} />;
  return (
    <code>
      <Foreign text={layer?.mediaType ?? ''} />
    </code>
  );
}

function SizeOf({ layer, largest }: { layer: Layer | null; largest: number }) {
  if (layer === null) return <span class="soft">no layer</span>;
  return (
    <span class="sized">
      <Bar share={layer.size / largest} label={`${bytesText(layer.size)} of ${bytesText(largest)}, the largest`} />
      <Bytes value={layer.size} />
    </span>
  );
}

function sharedText(sharedBy: number | null, most: number): string {
  if (sharedBy === null) return 'not counted';
  if (sharedBy <= 1) return 'only here';
  if (sharedBy >= most && most === 2) return 'in other images, too';
  return sharedBy >= most ? `in ${most} or more images` : `in ${sharedBy} images`;
}

/** The number of characters of a build step that are shown before the user opens it. */
const STEP_SHOWN = 140;

function StepText({ step: { command, buildArguments, comment }, length }: { step: Step; length: number }) {
  return (
    <>
      <Instruction text={command || comment || 'a step without a text'} length={length} />
      {buildArguments === '' ? null : (
        <span class="soft">
          with <Foreign text={buildArguments.slice(0, STEP_SHOWN)} />
        </span>
      )}
    </>
  );
}

function Instruction({ text, length }: { text: string; length: number }) {
  if (text.length <= STEP_SHOWN || length <= STEP_SHOWN) {
    return (
      <code class="instruction">
        <Foreign text={text} max={STEP_SHOWN} />
      </code>
    );
  }
  return (
    <details class="instruction">
      <summary>
        <code>
          <Foreign text={text} max={STEP_SHOWN} />
        </code>
      </summary>
      <pre>
        <Foreign text={text} max={length} />
      </pre>
    </details>
  );
}

/** The digest of a layer. If the layer belongs to a container image, the digest is a link to the list of its files. */
const LayerDigest: FC<{ name: string; digest: string; isArtifact: boolean }> = ({ name, digest, isArtifact }) =>
  isArtifact ? <Digest digest={digest} /> : <Digest digest={digest} href={repositoryAt(name, `layers/${digest}`)} />;
