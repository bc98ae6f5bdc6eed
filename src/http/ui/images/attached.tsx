/**
 * Finds the signatures, SBOMs and attestations that are attached to an image, in each of the ways in which clients attach them.
 */
import type { FC } from 'hono/jsx';
import type { WholeImageDetails } from '../../../app/images.ts';
import { attachmentKind } from '../../../oci/attachment.ts';
import type { Digest as DigestText } from '../../../oci/digest.ts';
import { repositoryAt } from '../parts/addresses.ts';
import { type Column, Table } from '../parts/table.tsx';
import { countText, Digest, Foreign } from '../parts/text.tsx';

interface Attachment {
  kind: string;
  /** The type that the client stated, or the tag if it stated none. */
  type: string;
  digest: DigestText;
  /** The platform to which the content is attached, if it is only one of several. */
  to: string;
  href: string;
}

/** Returns all attachments of an image and, for an index, of the platform that is shown. Each is listed once. */
export function attachmentsOf(name: string, image: WholeImageDetails, part: WholeImageDetails | null): Attachment[] {
  const all = [...ofManifest(name, image, part === null ? '' : 'all platforms')];
  if (part !== null) all.push(...ofManifest(name, part, 'this platform'), ...ofIndex(name, image, part));
  return [...new Map(all.map((one) => [one.digest, one])).values()];
}

function referrerAt(name: string, subject: string, digest: string): string {
  return repositoryAt(name, `images/${subject}/referrers/${digest}`);
}

function ofManifest(name: string, image: WholeImageDetails, to: string): Attachment[] {
  return [
    ...image.referrerList.map(({ digest, artifactType, mediaType }) => {
      const type = artifactType || mediaType;
      return { kind: attachmentKind(type), type, digest, to, href: referrerAt(name, image.digest, digest) };
    }),
    // A tag without a suffix is a list of referrers, made by clients that do not know the referrers API. It is left out.
    ...image.attachedTags
      .filter(({ tag }) => tag.includes('.'))
      .map(({ tag, digest }) => ({
        kind: attachmentKind(tag),
        type: `a tag that ends in ${tag.slice(tag.indexOf('.'))}`,
        digest,
        to,
        href: referrerAt(name, image.digest, digest),
      })),
  ];
}

function ofIndex(name: string, image: WholeImageDetails, part: WholeImageDetails): Attachment[] {
  const about = image.attestationList.filter((one) => one.about === null || one.about === part.digest);
  return about.map(({ digest, about: subject }) => ({
    ...{ kind: subject === null ? 'other' : 'attestation', type: 'listed in the index', digest },
    to: subject === null ? 'all platforms' : 'this platform',
    href: referrerAt(name, part.digest, digest),
  }));
}

const WORDS: Record<string, readonly [string, string]> = {
  signature: ['signature', 'signatures'],
  SBOM: ['SBOM', 'SBOMs'],
  attestation: ['attestation', 'attestations'],
  other: ['other', 'others'],
};

/** Returns for example `1 signature, 2 SBOMs`, or the empty string if nothing is attached. */
export function attachedText(items: readonly Attachment[]): string {
  const counts = Object.entries(WORDS).map(([kind, [one, many]]) => {
    const count = items.filter((item) => item.kind === kind).length;
    return count === 0 ? '' : countText(count, one, many);
  });
  return counts.filter(Boolean).join(', ');
}

export const Attached: FC<{ name: string; image: WholeImageDetails; part: WholeImageDetails | null }> = ({
  name,
  image,
  part,
}) => {
  const items = attachmentsOf(name, image, part);
  const elsewhere = image.attestations - (part === null ? 0 : ofIndex(name, image, part).length);
  const known = image.referrerList.length + (part?.referrerList.length ?? 0);
  const isMore = image.referrers + (part?.referrers ?? 0) > known;
  return (
    <section aria-labelledby="attached">
      <h2 id="attached">
        Attached <span class="soft count">{items.length}</span>
      </h2>
      {items.length === 0 ? (
        <p class="soft">No signature, SBOM or attestation is attached{part === null ? '' : ' to this platform'}.</p>
      ) : (
        <Table caption="Signatures, SBOMs and attestations" columns={columnsOf(part !== null)} items={items} />
      )}
      {isMore ? <p class="hint">There are more. The referrers API lists all of them.</p> : null}
      {part !== null && elsewhere > 0 ? <p class="hint">Other platforms have attestations of their own: {elsewhere}.</p> : null}
    </section>
  );
};

function columnsOf(ofIndex: boolean): Column<Attachment>[] {
  return [
    {
      head: 'What',
      cell: ({ kind, href }) => (
        <a href={href} data-row>
          {kind === 'other' ? 'Other content' : kind.charAt(0).toUpperCase() + kind.slice(1)}
        </a>
      ),
    },
    {
      head: 'Type',
      cell: ({ type }) => (
        <code>
          <Foreign text={type} />
        </code>
      ),
    },
    ...(ofIndex ? [{ head: 'For', cell: ({ to }: Attachment) => to }] : []),
    { head: 'Digest', cell: ({ digest }) => <Digest digest={digest} /> },
  ];
}
