/** The few images that all clients push, so that they conflict: manifests that share layers, an index, and two referrers. */
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  indexOf,
  LAYER_TYPE,
  noise,
} from '../world/images.ts';
import { Names } from './calls.ts';

export interface Manifest extends Content {
  mediaType: string;
  /** The digests of its blobs, or of the manifests of an index. */
  parts: string[];
  subject: string | null;
}

/** The last layer belongs to no manifest. */
export interface Contents {
  manifests: Manifest[];
  blobs: Content[];
  names: Names;
}

/** The number of bytes of annotations that make a document too large for its row. */
const LARGE = 200_000;

/** @param seed makes the content differ from that of other runs */
export async function contentsOf(seed: number): Promise<Contents> {
  const names = new Names();
  const named = <T extends Content>(name: string, content: T): T => {
    names.add(name, content.digest);
    return content;
  };
  const config = named('config', await contentOf(`{"seed":${seed}}`));
  const layers = await Promise.all([1, 2, 3, 4].map((n) => contentOf(noise(200 + n, seed * 10 + n))));
  layers.forEach((layer, n) => void named(`layer${n + 1}`, layer));
  const [base, second, third] = layers as [Content, Content, Content];
  const image = async (more: Content[], fields: Record<string, unknown> = {}): Promise<Manifest> => {
    const text = JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_TYPE,
      config: descriptorOf(config, CONFIG_TYPE),
      layers: more.map((layer) => descriptorOf(layer, LAYER_TYPE)),
      ...fields,
    });
    const subject = (fields.subject as { digest: string } | undefined)?.digest ?? null;
    const parts = [config, ...more].map(({ digest }) => digest);
    return { ...(await contentOf(text)), mediaType: IMAGE_TYPE, parts, subject };
  };
  const a = named('A', await image([base]));
  const b = named('B', await image([base, second]));
  const c = named('C', await image([third], { annotations: { padding: 'x'.repeat(LARGE) } }));
  const both = [a, b];
  const index = named('I', {
    ...(await indexOf(both)),
    mediaType: INDEX_TYPE,
    parts: both.map(({ digest }) => digest),
    subject: null,
  });
  const about = (n: number) => image([second], { subject: descriptorOf(a, IMAGE_TYPE), annotations: { n: String(n) } });
  const referrers = [named('R1', await about(1)), named('R2', await about(2))];
  return { manifests: [a, b, c, index, ...referrers], blobs: [config, ...layers], names };
}
