/** The page that shows the manifest of an image as it was pushed, with links to the manifests that it lists. */

import { readManifest } from '../../../app/images.ts';
import { getRepository } from '../../../app/repositories.ts';
import { parseDigest } from '../../../oci/digest.ts';
import { isManifestMediaType } from '../../../oci/manifest.ts';
import { type AppEnv, callOf, originOf, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { imageAt } from '../parts/addresses.ts';
import { Bytes, Command, Foreign } from '../parts/text.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';
import { Json } from './json.tsx';

/** The maximum number of characters of a manifest that are shown. */
const SHOWN_MAX = 60_000;

export const rawPages = new Hono<AppEnv>().get('/repositories/:name{.+}/-/images/:digest/raw', async (c) => {
  const [call, name, digest] = [callOf(c), repositoryIn(c), parseDigest(c.req.param('digest'))];
  const [repository, manifest] = await Promise.all([getRepository(call, name), readManifest(call, name, { digest })]);
  const { text, mediaType, size } = manifest;
  // Some clients push a document in one line. It is indented for display. The digest is that of the bytes as pushed.
  const isOneLine = !text.trim().includes('\n') && size <= SHOWN_MAX;
  const shown = isOneLine ? JSON.stringify(JSON.parse(text), null, 2) : text;
  const pages = new Set(manifestsIn(text));
  return render(
    c,
    <RepositoryPage c={c} repository={repository} tab="" title={`Manifest ${digest.slice(0, 19)} · ${name}`}>
      <div class="subject">
        <h2>
          Manifest of{' '}
          <a class="mono" href={imageAt(name, digest)}>
            {digest.slice(0, 19)}
          </a>
        </h2>
      </div>
      <p class="soft">
        <Foreign text={mediaType} />, <Bytes value={size} />
        {isOneLine ? ', in one line as pushed, and indented here' : ''}
      </p>
      <Json text={shown.slice(0, SHOWN_MAX)} hrefOf={(one) => (pages.has(one) ? imageAt(name, one) : null)} />
      {shown.length > SHOWN_MAX ? <p class="hint">The first {SHOWN_MAX.toLocaleString('en')} characters are shown.</p> : null}
      <h3>The exact bytes</h3>
      <Command command={`curl -u USER -H 'Accept: ${mediaType}' '${originOf(c)}/v2/${name}/manifests/${digest}'`} />
    </RepositoryPage>,
  );
});

interface Described {
  digest: string;
  mediaType?: string;
}

/** Returns the digests in a manifest that have a page: those of other manifests. */
function manifestsIn(text: string): string[] {
  const { manifests, subject } = JSON.parse(text) as { manifests?: Described[] | null; subject?: Described | null };
  const listed = (manifests ?? []).filter(({ mediaType }) => isManifestMediaType(mediaType ?? ''));
  return [...listed, ...(subject ? [subject] : [])].map(({ digest }) => digest);
}
