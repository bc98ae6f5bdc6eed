/** What is known of an image at first sight: its digest, sizes, dates, and its other names. */
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
