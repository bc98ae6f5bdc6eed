/** Shows the main facts about an image: its digest, sizes, dates, and its other tags. */
import type { Child, FC } from 'hono/jsx';
import type { WholeImageDetails } from '../../../app/images.ts';
import type { ImageConfig } from '../../../oci/image-config.ts';
import { imageAt, tagAt } from '../parts/addresses.ts';
import { platformText } from '../parts/platform.ts';
import { Bytes, Day, Digest, Foreign, Principal, When } from '../parts/text.tsx';
import { attachedText, attachmentsOf } from './attached.tsx';
import type { ImageProps } from './props.ts';

export const Facts: FC<ImageProps & { config: ImageConfig | null }> = (props) => {
  const { image, repository, part, config } = props;
  const attached = attachedText(attachmentsOf(repository.name, image, part));
  return (
    <dl class="facts panel">
      <Fact title="Digest">
        <Digest digest={image.digest} href={imageAt(repository.name, image.digest)} />
      </Fact>
      <PartDigest {...props} />
      {image.kind === 'artifact' && image.artifactType !== null ? (
        <Fact title="Type">
          <code>
            <Foreign text={image.artifactType} />
          </code>
        </Fact>
      ) : null}
      <Fact title="Size">
        <Size {...props} />
      </Fact>
      {config === null ? null : (
        <Fact title="Built">
          <When at={config.created} none="not stated" />
        </Fact>
      )}
      <Fact title="Pushed">
        <Pushed image={image} />
      </Fact>
      <Fact title="Last pull">
        <Day day={image.lastPulledOn} />
      </Fact>
      {attached === '' ? null : (
        <Fact title="Attached">
          <a href="#attached">{attached}</a>
        </Fact>
      )}
      <Mutability image={image} />
      <OtherTags {...props} />
    </dl>
  );
};

const Fact: FC<{ title: Child; children?: Child }> = ({ title, children }) => (
  <>
    <dt>{title}</dt>
    <dd>{children}</dd>
  </>
);

/** Says whether the tag can be moved, in a repository that has a rule about it. */
function Mutability({ image: { mutability } }: { image: WholeImageDetails }) {
  if (mutability === null || mutability.value === 'MUTABLE') return null;
  return <Fact title={mutability.immutable ? 'Immutable' : 'Can be moved'}>{mutabilityText(mutability)}</Fact>;
}

/** Why a tag is immutable, or is not. */
export function mutabilityText({ value, exclusions, excludedBy }: NonNullable<WholeImageDetails['mutability']>): string {
  const all = value.startsWith('IMMUTABLE');
  if (excludedBy !== null) {
    return all
      ? `All tags of this repository are immutable, but those like ${excludedBy} are not`
      : `Tags like ${excludedBy} of this repository are immutable`;
  }
  if (!all) return `Only tags like ${exclusions.join(', ')} of this repository are immutable`;
  const but = exclusions.length === 0 ? '' : `, but those like ${exclusions.join(', ')}`;
  return `All tags of this repository are immutable${but}`;
}

function PartDigest({ repository, platform, part }: ImageProps) {
  if (part === null || platform === null) return null;
  return (
    <Fact title={<bdi>{platformText(platform)}</bdi>}>
      <Digest digest={part.digest} href={imageAt(repository.name, part.digest)} />
    </Fact>
  );
}

function Pushed({ image: { pushedAt, tagged } }: { image: WholeImageDetails }) {
  return (
    <>
      <When at={pushedAt} />
      {tagged?.by ? (
        <>
          {' by '}
          <Principal subject={tagged.by.subject} {...(tagged.by.key ? { key: tagged.by.key } : {})} />
        </>
      ) : null}
    </>
  );
}

function OtherTags({ image, reference, repository }: ImageProps) {
  const others = image.tags.filter((tag) => tag !== reference.tag);
  if (others.length === 0) return null;
  return (
    <Fact title={reference.tag === undefined ? 'Tags' : 'Other tags'}>
      <span class="words">
        {others.map((tag) => (
          <a class="mono" href={tagAt(repository.name, tag)}>
            {tag}
          </a>
        ))}
      </span>
    </Fact>
  );
}

function Size({ image, part, platform }: ImageProps) {
  if (image.kind !== 'index') {
    return (
      <>
        <Bytes value={image.size} /> compressed
      </>
    );
  }
  return (
    <>
      <Bytes value={image.bytesInAll ?? image.size} /> for all platforms
      {part === null || platform === null ? null : (
        <>
          , <Bytes value={part.size} /> for <bdi>{platformText(platform)}</bdi>
        </>
      )}
    </>
  );
}
