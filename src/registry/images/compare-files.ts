/** Compares the files of two images of a repository, from the lists of their layers. */
import type { Env, Vars } from '../../env.ts';
import type { Digest } from '../../oci/digest.ts';
import { compareTrees, type FileChanges } from '../../oci/file-changes.ts';
import { FileTree } from '../../oci/file-tree.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import { type ListedLayer, listFilesOfLayers } from '../layer-files.ts';

interface Layer {
  digest: Digest;
  size: number;
}

export interface FileComparison {
  /** `null` if the files of some layers are not listed. */
  changes: FileChanges | null;
  /** Layers whose files are not listed yet. */
  unread: Layer[];
  /** Layers whose files cannot be listed, and why. */
  unreadable: { digest: Digest; message: string }[];
  /** The number of lowest layers that are the same in both. */
  shared: number;
  /** False: the shared layers were not read, so a file that one of them has counts as added if a layer above has it, too. */
  isWhole: boolean;
  /** Whether some files were not compared because there are too many. */
  truncated: boolean;
}

type Lists = Map<string, ListedLayer<Layer>>;

/** @param options.read whether layers that are not listed yet are read */
export async function compareImageFiles(
  env: Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars,
  repository: RepositoryName,
  { from, to }: { from: readonly Layer[]; to: readonly Layer[] },
  options: { read: boolean; now: number },
): Promise<FileComparison> {
  const shared = sharedLayers(from, to);
  const [base, before, after] = [from.slice(0, shared), from.slice(shared), to.slice(shared)];
  const lists = await listFilesOfLayers(env, repository, [...before, ...after, ...base], options);
  const all = [...lists.values()];
  const isWhole = base.every(({ digest }) => entriesOf(lists, digest) !== null);
  const hasAll = [...before, ...after].every(({ digest }) => entriesOf(lists, digest) !== null);
  const trees = hasAll ? treesOf(lists, { base: isWhole ? base : [], before, after }) : null;
  return {
    changes: trees && compareTrees(trees.from.root, trees.to.root, { isWhole }),
    unread: all.flatMap(({ layer, files }) => (files === 'unread' ? [layer] : [])),
    unreadable: all.flatMap(({ layer: { digest }, files }) => (isRefusal(files) ? [{ digest, message: files.message }] : [])),
    ...{ shared, isWhole },
    truncated:
      trees?.from.truncated ||
      trees?.to.truncated ||
      all.some(({ files }) => !isRefusal(files) && files !== 'unread' && files.truncated),
  };
}

function treesOf(
  lists: Lists,
  { base, before, after }: Record<'base' | 'before' | 'after', readonly Layer[]>,
): { from: FileTree; to: FileTree } {
  const below = new FileTree();
  const put = (tree: FileTree, layers: readonly Layer[]) => {
    for (const { digest } of layers) tree.apply(entriesOf(lists, digest) ?? []);
    return tree;
  };
  put(below, base);
  return { from: put(below.fork(), before), to: put(below.fork(), after) };
}

function entriesOf(lists: Lists, digest: Digest) {
  const files = lists.get(digest)?.files;
  return files === undefined || files === 'unread' || isRefusal(files) ? null : files.entries;
}

function sharedLayers(from: readonly Layer[], to: readonly Layer[]): number {
  const at = from.findIndex(({ digest }, n) => digest !== to[n]?.digest);
  return at < 0 ? from.length : at;
}
