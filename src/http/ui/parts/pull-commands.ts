/**
 * Commands that pull an image. They are built from names, tags and digests that were parsed, which contain no character that a
 * shell interprets. A platform may be any text, so it is left out unless it contains only plain characters.
 */
import type { ManifestFacts } from '../../../app/images.ts';
import type { Digest } from '../../../oci/digest.ts';
import type { RepositoryName } from '../../../oci/name.ts';
import type { Tag } from '../../../oci/reference.ts';

export interface PullCommand {
  client: string;
  command: string;
}

export interface Pulled {
  host: string;
  repository: RepositoryName;
  /** `null` if the image is pulled by digest only. */
  tag: Tag | null;
  digest: Digest;
  facts: Pick<ManifestFacts, 'kind' | 'artifactType'>;
  /** The platform that the user has chosen, for example `linux/arm64`, or `null`. */
  platform: string | null;
}

const HELM = 'application/vnd.cncf.helm.config.v1+json';
const PLAIN_PLATFORM = /^[\w.-]+(?:\/[\w.-]+){1,2}$/;

export function isChart({ artifactType }: Pick<ManifestFacts, 'artifactType'>): boolean {
  return artifactType === HELM;
}

/**
 * Returns the commands by tag, if there is a tag, and by digest, for each client that supports the image. The first client is
 * the usual one.
 */
export function pullCommands(pulled: Pulled): { byTag: PullCommand[]; byDigest: PullCommand[] } {
  const { host, repository, tag, digest } = pulled;
  const name = `${host}/${repository}`;
  return {
    byTag: tag === null ? [] : commandsFor(pulled, `${name}:${tag}`, tag),
    byDigest: commandsFor(pulled, `${name}@${digest}`, null),
  };
}

function commandsFor({ host, repository, facts, platform }: Pulled, reference: string, tag: Tag | null): PullCommand[] {
  const oras = { client: 'oras', command: `oras pull ${reference}` };
  if (isChart(facts)) {
    // Helm writes the plus in a version as an underscore, because a tag cannot contain a plus.
    const version = tag?.replaceAll('_', '+');
    const helm = { client: 'helm', command: `helm pull oci://${host}/${repository} --version ${version}` };
    return tag === null ? [oras] : [helm, oras];
  }
  if (facts.kind === 'artifact') return [oras];
  const option = platform !== null && PLAIN_PLATFORM.test(platform) ? `--platform ${platform} ` : '';
  return [
    { client: 'docker', command: `docker pull ${option}${reference}` },
    { client: 'podman', command: `podman pull ${option}${reference}` },
    { client: 'crane', command: `crane pull ${option}${reference} image.tar` },
    { client: 'oras', command: `oras copy ${option}${reference} --to-oci-layout image:latest` },
  ];
}
