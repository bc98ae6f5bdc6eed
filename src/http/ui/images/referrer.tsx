/**
 * The page that shows content attached to an image: an SBOM with its packages and licences, or an attestation or signature as
 * text.
 */

import { readBlobText } from '../../../app/attachments.ts';
import { getWholeImage, type WholeImageDetails } from '../../../app/images.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { attachmentKind } from '../../../oci/attachment.ts';
import { type Attachment, readAttachment } from '../../../oci/bill-of-materials.ts';
import { type Digest as DigestText, parseDigest } from '../../../oci/digest.ts';
import { ATTACHMENT_MAX_BYTES } from '../../../vocabulary/images.ts';
import { isRefusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, hostOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { imageAt, repositoryAt, withQuery } from '../parts/addresses.ts';
import { Bytes, bytesText, Command, Digest, Foreign } from '../parts/text.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';
import { Bill } from './bill.tsx';
import { Json } from './json.tsx';

export const referrerPages = new Hono<AppEnv>().get(
  '/repositories/:name{.+}/-/images/:digest/referrers/:referrer',
  async (c) => {
    const [call, name] = [callOf(c), repositoryIn(c)];
    const subject = parseDigest(c.req.param('digest'));
    const digest = parseDigest(c.req.param('referrer'));
    const [repository, referrer] = await Promise.all([getRepository(call, name), getWholeImage(call, name, { digest })]);
    const wanted = c.req.query('content');
    const layer = referrer.layers.find((one) => one.digest === wanted) ?? referrer.layers[0] ?? null;
    const text = layer === null ? null : await readContent(c, layer.digest);
    const props = { c, repository, subject, referrer, layer, attachment: text === null ? null : readAttachment(text) };
    return render(c, <ReferrerPage {...props} />);
  },
);

/** Returns the text of a blob, or `null` if the blob is missing or cannot be shown. */
async function readContent(c: RequestContext, digest: DigestText): Promise<string | null> {
  try {
    return await readBlobText(callOf(c), repositoryIn(c), digest);
  } catch (error) {
    if (isRefusal(error, 'blob-unknown')) return null;
    throw error;
  }
}

interface ReferrerProps {
  c: RequestContext;
  repository: Repository;
  subject: DigestText;
  referrer: WholeImageDetails;
  /** The layer of the manifest that is shown, if the manifest has several. */
  layer: WholeImageDetails['layers'][number] | null;
  attachment: Attachment | null;
}

/** Returns the kind of the shown content. The type of the content itself is more precise than that of the manifest. */
function kindOf({ referrer, layer, attachment }: ReferrerProps) {
  if (attachment?.bill) return 'SBOM';
  const types = [attachment?.predicateType, layer?.mediaType, referrer.artifactType, ...referrer.tags];
  const kinds = types.map((type) => attachmentKind(type ?? ''));
  return kinds.find((kind) => kind !== 'other') ?? 'other';
}

function ReferrerPage(props: ReferrerProps) {
  const { c, repository, subject, referrer, layer, attachment } = props;
  const { name } = repository;
  const kind = kindOf(props);
  const title = kind === 'other' ? 'Attached content' : kind.charAt(0).toUpperCase() + kind.slice(1);
  return (
    <RepositoryPage c={c} repository={repository} tab="" title={`${title} · ${name}`}>
      <h2>{title}</h2>
      <dl class="facts panel">
        <dt>Attached to</dt>
        <dd>
          <Digest digest={subject} href={imageAt(name, subject)} />
        </dd>
        <dt>Manifest</dt>
        <dd>
          <Digest digest={referrer.digest} href={imageAt(name, referrer.digest)} />
        </dd>
        {layer === null ? null : (
          <>
            <dt>Content</dt>
            <dd>
              <Digest digest={layer.digest} /> <Bytes value={layer.size} />, <Foreign text={layer.mediaType} />
            </dd>
          </>
        )}
        {attachment?.predicateType ? (
          <>
            <dt>Statement</dt>
            <dd>
              <Foreign text={attachment.predicateType} />
            </dd>
          </>
        ) : null}
      </dl>
      <Contents {...props} />
      {kind === 'signature' ? <Verify host={hostOf(c)} name={name} subject={subject} /> : null}
      {attachment?.bill ? <Bill c={c} bill={attachment.bill} /> : null}
      <Text layer={layer} attachment={attachment} />
    </RepositoryPage>
  );
}

/** Links to the other layers of the same manifest. */
function Contents({ repository: { name }, subject, referrer, layer }: ReferrerProps) {
  if (referrer.layers.length < 2) return null;
  const path = repositoryAt(name, `images/${subject}/referrers/${referrer.digest}`);
  return (
    <nav class="choices" aria-label="Content">
      {referrer.layers.slice(0, CONTENTS_MAX).map((one, n) => (
        <a href={withQuery(path, { content: one.digest })} aria-current={one === layer ? 'true' : undefined}>
          {n + 1}{' '}
          <span class="soft">
            <Bytes value={one.size} />
          </span>
        </a>
      ))}
    </nav>
  );
}

const CONTENTS_MAX = 20;

function Verify({ host, name, subject }: { host: string; name: string; subject: DigestText }) {
  return (
    <>
      <p>The registry keeps signatures and does not verify them. With the public key of the signer you can:</p>
      <Command command={`cosign verify --key cosign.pub ${host}/${name}@${subject}`} />
    </>
  );
}

/** The maximum number of characters of a document that are shown. */
const SHOWN_MAX = 40_000;

function Text({ layer, attachment }: Pick<ReferrerProps, 'layer' | 'attachment'>) {
  if (layer === null) return <p class="soft">The manifest has no content.</p>;
  if (attachment === null) {
    const isLong = layer.size > ATTACHMENT_MAX_BYTES;
    const why = isLong ? `it is longer than ${bytesText(ATTACHMENT_MAX_BYTES)}` : 'it is missing, or is no text';
    return <p class="soft">The content cannot be shown: {why}.</p>;
  }
  const { text, bill } = attachment;
  return (
    <details class="folded" open={bill === null}>
      <summary>The document</summary>
      <Json text={text.slice(0, SHOWN_MAX)} hrefOf={() => null} />
      {text.length > SHOWN_MAX ? <p class="hint">The first {SHOWN_MAX.toLocaleString('en')} characters are shown.</p> : null}
    </details>
  );
}
