/** The page of an image, by tag or by digest: its platforms, how to pull it, and its content. */

import { may } from '../../../app/access.ts';
import type { WholeImageDetails } from '../../../app/images.ts';
import { getRepository } from '../../../app/repositories.ts';
import { readImageConfig } from '../../../oci/image-config.ts';
import { parseReferenceToRead } from '../../../oci/reference.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { imageAt, repositoryAt, tagAt, withQuery } from '../parts/addresses.ts';
import { type Platform, platformText } from '../parts/platform.ts';
import { Bytes, Chip, Icon } from '../parts/text.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';
import { Attached } from './attached.tsx';
import { Configuration, Pairs } from './configuration.tsx';
import { Facts, mutabilityText } from './facts.tsx';
import { Layers } from './layers.tsx';
import type { ImageProps } from './props.ts';
import { Pull } from './pull.tsx';
import { readImage } from './read.ts';

export const imagePages = new Hono<AppEnv>()
  .get('/repositories/:name{.+}/-/tags/:tag', (c) => showImage(c, c.req.param('tag')))
  .get('/repositories/:name{.+}/-/images/:digest', (c) => showImage(c, c.req.param('digest')));

async function showImage(c: RequestContext, named: string): Promise<Response> {
  const [call, name] = [callOf(c), repositoryIn(c)];
  const reference = parseReferenceToRead(named);
  const wanted = c.req.query('platform');
  const [repository, read] = await Promise.all([getRepository(call, name), readImage(c, reference, wanted)]);
  return render(c, <ImagePage {...{ c, repository, reference, ...read }} />);
}

function ImagePage(props: ImageProps) {
  const { c, repository, reference, image, platform, part } = props;
  const { name } = repository;
  const shown = image.kind === 'index' ? part : image;
  const config = shown?.kind === 'image' && shown.configText !== null ? readImageConfig(shown.configText) : null;
  const title = reference.tag === undefined ? `${name}@${reference.digest.slice(0, 19)}` : `${name}:${reference.tag}`;
  return (
    <RepositoryPage
      c={c}
      repository={repository}
      tab=""
      title={title}
      json={`/api/v1/repositories/${name}/-/images/${reference.tag ?? reference.digest}`}
    >
      <ImageHead {...props} />
      <div class="cards wide">
        <Facts {...props} config={config} />
        <Pull {...props} />
      </div>
      <Platforms {...props} />
      {shown === null || shown.kind === 'index' ? (
        <NoParts image={image} platform={platform} isNested={shown !== null} name={name} />
      ) : (
        <>
          <Layers name={name} image={shown} config={config} />
          <Configuration image={shown} config={config} />
        </>
      )}
      <Pairs
        title="Annotations"
        id="annotations"
        pairs={Object.entries({ ...image.annotations, ...(part?.annotations ?? {}) })}
        hint="They are part of the manifest, and not of the image itself."
      />
      <Attached name={name} image={image} part={part} />
      {image.truncated || part?.truncated ? (
        <p class="hint">Some of this image is too long for this page. Its manifest has all of it.</p>
      ) : null}
    </RepositoryPage>
  );
}

const KINDS = { image: 'image', index: 'several platforms', artifact: 'artifact' } as const;

function ImageHead({ c, repository: { name }, reference, image, platform }: ImageProps) {
  const { authority } = callOf(c);
  const { tag } = reference;
  const mayDelete = may(authority, 'delete', repositoryIn(c), tag ?? null) && !image.mutability?.immutable;
  const chosen = c.req.query('platform') ? platform : null;
  return (
    <div class="subject">
      <h2 class="mono">{tag ?? image.digest.slice(0, 19)}</h2>
      <Chip>{KINDS[image.kind]}</Chip>
      {image.mutability?.immutable ? (
        <Chip title={mutabilityText(image.mutability)}>
          <Icon name="lock" /> immutable
        </Chip>
      ) : null}
      {image.subject === null ? null : (
        <a href={imageAt(name, image.subject)}>
          <Chip>attached to an image</Chip>
        </a>
      )}
      <div class="actions">
        <a
          class="button"
          href={withQuery(repositoryAt(name, 'compare'), {
            to: tag ?? image.digest,
            platform: chosen && platformText(chosen),
          })}
        >
          Compare
        </a>
        {tag === undefined ? null : (
          <a class="button" href={`${tagAt(name, tag)}/history`}>
            History
          </a>
        )}
        <a class="button" href={`${imageAt(name, image.digest)}/raw`}>
          Manifest
        </a>
        {mayDelete ? (
          <a
            class="button danger"
            href={withQuery(repositoryAt(name, 'deletion'), tag === undefined ? { digest: image.digest } : { tag })}
          >
            Delete
          </a>
        ) : null}
      </div>
    </div>
  );
}

function Platforms({ c, image: { kind, platforms }, platform, repository, reference }: ImageProps) {
  if (kind !== 'index' || !platforms || platforms.length === 0) return null;
  const own = reference.tag === undefined ? imageAt(repository.name, reference.digest) : tagAt(repository.name, reference.tag);
  const unknown = platform === null && c.req.query('platform');
  const names = platforms.map(platformText);
  return (
    <>
      {unknown ? <p class="soft">This image has no such platform. It has these:</p> : null}
      <nav class="choices" aria-label="Platforms">
        {platforms.map((one, n) => (
          <a
            href={withQuery(own, { platform: names.indexOf(names[n] ?? '') === n ? names[n] : one.digest })}
            aria-current={one === platform ? 'true' : undefined}
          >
            <bdi>{platformText(one)}</bdi>
            <span class="soft">
              <Bytes value={one.size} />
            </span>
          </a>
        ))}
      </nav>
    </>
  );
}

function NoParts({
  image,
  platform,
  isNested,
  name,
}: {
  image: WholeImageDetails;
  platform: Platform | null;
  isNested: boolean;
  name: string;
}) {
  if (isNested && platform !== null) {
    return (
      <p>
        This entry is itself a list of images: <a href={imageAt(name, platform.digest)}>open it</a>.
      </p>
    );
  }
  if (platform !== null) return <p>The image of this platform is not in the repository.</p>;
  if ((image.platforms ?? []).length > 0) return null;
  return <p class="soft">This list names no platform.</p>;
}
