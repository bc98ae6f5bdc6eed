/** The files of an image are those of its layers, one on top of the other; two images are compared by them. */
import { describe, expect, test } from 'vitest';
import { changesMatching, compareTrees } from '../../src/oci/file-changes.ts';
import { FileTree } from '../../src/oci/file-tree.ts';
import { type TarEntry, TarLister } from '../../src/oci/tar.ts';
import { type Member, tarOf } from '../world/tar.ts';

function entriesOf(...members: (string | Member)[]): TarEntry[] {
  const lister = new TarLister(100_000);
  lister.push(tarOf(members.map((member) => (typeof member === 'string' ? { path: member } : member))));
  return lister.entries;
}

function treeOf(...layers: TarEntry[][]): FileTree {
  const tree = new FileTree();
  for (const entries of layers) tree.apply(entries);
  return tree;
}

/** The changes as lines like `+ path`. */
function changes(from: FileTree, to: FileTree, isWhole = true): string[] {
  const signs = { added: '+', removed: '-', changed: '~' };
  return compareTrees(from.root, to.root, { isWhole }).items.map(({ path, change }) => `${signs[change]} ${path}`);
}

const files = (...layers: TarEntry[][]) => changes(new FileTree(), treeOf(...layers)).map((line) => line.slice(2));

describe('the files of an image', () => {
  test('are those of the topmost layer that has them, without what a layer above removes', () => {
    expect(files(entriesOf('a', 'b/c', 'b/d'), entriesOf('b/.wh.c', 'e'))).toEqual(['a', 'b/d', 'e']);
    expect(files(entriesOf('b/c/d', 'b/x'), entriesOf('b/.wh.c'))).toEqual(['b/x']);
    expect(files(entriesOf('b/c', 'b/d'), entriesOf('b/.wh..wh..opq', 'b/e'))).toEqual(['b/e']);
    expect(files(entriesOf('a'), entriesOf('.wh.a'), entriesOf('a'))).toEqual(['a']);
  });

  test('a whiteout concerns only the layers below, wherever it stands', () => {
    expect(files(entriesOf('a'), entriesOf('a', '.wh.a'))).toEqual(['a']);
    expect(files(entriesOf('d/x'), entriesOf('d/new', 'd/.wh..wh..opq'))).toEqual(['d/new']);
  });

  test('a file takes the place of a folder with all that is in it, and the reverse', () => {
    expect(files(entriesOf('a/b/c', 'z'), entriesOf({ path: 'a', type: '2', target: 'z' }))).toEqual(['a', 'z']);
    expect(files(entriesOf('a'), entriesOf({ path: 'a/', type: '5' }, 'a/b'))).toEqual(['a/b']);
  });

  test('paths are the same however they are written, and none leads out of the archive', () => {
    expect(files(entriesOf('./a//b/', '/c', './', 'd/../../e', '..'))).toEqual(['a/b', 'c']);
    expect(files(entriesOf('__proto__/constructor', 'constructor'))).toEqual(['__proto__/constructor', 'constructor']);
  });
});

describe('two images', () => {
  const base = entriesOf('etc/passwd', 'usr/bin/node', 'var/log/x');

  test('differ by what their own layers add, change and remove', () => {
    const below = treeOf(base);
    const [from, to] = [below.fork(), below.fork()];
    from.apply(entriesOf('app/a', { path: 'app/b', content: 'x' }, 'same'));
    to.apply(entriesOf({ path: 'app/b', content: 'xy' }, 'same', 'etc/.wh.passwd', { path: 'usr/bin/node', mode: 0o755 }));
    const found = compareTrees(from.root, to.root, { isWhole: true });
    expect(found).toMatchObject({ added: 0, removed: 2, changed: 2, addedBytes: 2, removedBytes: 1, truncated: false });
    expect(changes(from, to)).toEqual(['- app/a', '~ app/b', '- etc/passwd', '~ usr/bin/node']);
    expect(changes(to, from)).toEqual(['+ app/a', '~ app/b', '+ etc/passwd', '~ usr/bin/node']);
    expect(changes(below, treeOf(base))).toEqual([]);
    expect(changesMatching(found.items, 'ETC/')).toMatchObject([{ path: 'etc/passwd' }]);
  });

  test('differ by time, by the target of a link, and by kind; folders not by time', () => {
    const one = treeOf(
      entriesOf({ path: 'a', modified: 5 }, { path: 'l', type: '2', target: 'x' }, 'k', { path: 'd/', type: '5', modified: 1 }),
    );
    const two = treeOf(
      entriesOf(
        { path: 'a', modified: 6 },
        { path: 'l', type: '2', target: 'y' },
        { path: 'k/', type: '5' },
        { path: 'd/', type: '5', modified: 2 },
      ),
    );
    expect(changes(one, two)).toEqual(['~ a', '~ k', '~ l']);
  });

  test('a folder is told only if it is empty, or if its permissions changed', () => {
    const one = treeOf(entriesOf({ path: 'd/', type: '5', mode: 0o755 }, 'd/a'));
    const two = treeOf(
      entriesOf({ path: 'd/', type: '5', mode: 0o700 }, 'd/a', { path: 'e/', type: '5' }, { path: 'f/', type: '5' }, 'f/a'),
    );
    expect(changes(one, two)).toEqual(['~ d', '+ e', '+ f/a']);
  });

  test('if the layers below are not known, a whiteout still tells that a file goes', () => {
    const [from, to] = [treeOf(entriesOf('etc/new')), treeOf(entriesOf('etc/.wh.passwd', 'usr/.wh.x'))];
    expect(changes(from, to, false)).toEqual(['- etc/new', '- etc/passwd', '- usr/x']);
    expect(changes(to, from, false)).toEqual(['+ etc/new', '+ etc/passwd', '+ usr/x']);
    expect(changes(from, to, true)).toEqual(['- etc/new']);
  });
});

test('shared layers are neither copied nor looked at', () => {
  const many = Array.from({ length: 5000 }, (_, n) => `lib/${n % 100}/${n}`);
  const below = treeOf(entriesOf(...many));
  const [from, to] = [below.fork(), below.fork()];
  from.apply(entriesOf('app/a'));
  to.apply(entriesOf('app/b', 'lib/0/new'));
  const lib = (tree: FileTree) => tree.root.children?.get('lib');
  expect(lib(from)).toBe(lib(below));
  expect(lib(to)?.children?.get('1')).toBe(lib(below)?.children?.get('1'));
  expect(changes(from, to)).toEqual(['- app/a', '+ app/b', '+ lib/0/new']);
  expect(changes(below, below.fork())).toEqual([]);
});

test('trees and lists of changes have limits, and say so', { tags: 'slow' }, () => {
  const [entry] = entriesOf('x') as [TarEntry];
  const entries = Array.from({ length: 200_000 }, (_, n) => ({ ...entry, path: `${n % 300}/${n}` }));
  const tree = treeOf(entries.slice(0, 20_000));
  const found = compareTrees(new FileTree().root, tree.root, { isWhole: true });
  expect([found.added, found.items.length, found.truncated]).toEqual([20_000, 10_000, true]);
  tree.apply(entries);
  expect(tree.truncated).toBe(true);
  expect(files([{ ...entry, path: 'a/'.repeat(30_000) }])).toEqual([]);
});
