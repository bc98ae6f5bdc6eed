/** Listing tar archives that the system's tar has made, and archives that are hostile or damaged. */
import { describe, expect, test } from 'vitest';
import { TarError, TarLister } from '../../src/oci/tar.ts';
import { type Member, tarOf } from '../world/tar.ts';

function listed(bytes: Uint8Array, { chunk = bytes.length || 1, max = 1000 } = {}) {
  const lister = new TarLister(max);
  for (let at = 0; at < bytes.length; at += chunk) lister.push(bytes.subarray(at, at + chunk));
  return lister;
}

const MEMBERS: Member[] = [
  { path: 'app/', type: '5', mode: 0o755 },
  { path: 'app/server.js', content: 'console.log(1)', mode: 0o644 },
  { path: 'app/current', type: '2', target: 'server.js' },
  { path: 'app/same', type: '1', target: 'app/server.js' },
  { path: 'etc/.wh.passwd' },
  { path: 'var/cache/.wh..wh..opq' },
  { path: 'dev/null', type: '3' },
  { path: 'empty' },
];

describe.each([1, 7, 511, 512, 513, 100_000])('in chunks of %i bytes', (chunk) => {
  test('the entries are listed in their order, with kinds, sizes, modes, links and whiteouts', () => {
    const { entries, done, truncated } = listed(tarOf(MEMBERS), { chunk });
    expect(entries.map(({ path, kind, size, target }) => [path, kind, size, target])).toEqual([
      ['app/', 'folder', 0, null],
      ['app/server.js', 'file', 14, null],
      ['app/current', 'link', 0, 'server.js'],
      ['app/same', 'hard link', 0, 'app/server.js'],
      ['etc/passwd', 'removed', 0, null],
      ['var/cache/', 'emptied', 0, null],
      ['dev/null', 'other', 0, null],
      ['empty', 'file', 0, null],
    ]);
    expect(entries.map(({ mode }) => mode).slice(0, 2)).toEqual([0o755, 0o644]);
    expect([done, truncated]).toEqual([true, false]);
  });
});

test('long names of pax and of GNU tar are read', () => {
  const long = `deep/${'folder/'.repeat(40)}file`;
  const record = (key: string, value: string) => {
    const body = ` ${key}=${value}\n`;
    const length = [2, 3, 4]
      .map((digits) => body.length + digits)
      .find((total) => String(total).length + body.length === total);
    return `${length}${body}`;
  };
  const { entries } = listed(
    tarOf([
      { path: 'PaxHeaders/x', type: 'x', content: record('path', long) + record('size', '3') },
      { path: 'short', content: 'abc' },
      { path: '././@LongLink', type: 'L', content: `${long}2\0` },
      { path: 'short', content: 'de' },
      { path: 'pax_global_header', type: 'g', content: record('comment', 'x') },
      { path: 'last' },
    ]),
  );
  expect(entries.map(({ path, size }) => [path, size])).toEqual([
    [long, 3],
    [`${long}2`, 2],
    ['last', 0],
  ]);
});

test('no more entries than the maximum are kept', () => {
  const lister = listed(tarOf(MEMBERS), { max: 3 });
  expect([lister.entries.length, lister.truncated, lister.done]).toEqual([3, true, true]);
});

describe('is refused', () => {
  const whole = tarOf([{ path: 'a', content: 'x' }]);
  test.each<[string, (bytes: Uint8Array) => void]>([
    ['a header with another sum', (bytes) => bytes.set([1], 0)],
    ['a size that is no number', (bytes) => bytes.set(new TextEncoder().encode('zzzzzzzzzzz'), 124)],
    ['a size beyond all numbers', (bytes) => bytes.set(new Uint8Array(12).fill(0xff), 124)],
  ])('%s', (_, spoil) => {
    const bytes = whole.slice();
    spoil(bytes);
    expect(() => listed(bytes)).toThrow(TarError);
  });

  test('what is no archive', () => {
    expect(() => listed(new TextEncoder().encode('hello '.repeat(200)))).toThrow(TarError);
  });

  test('what is shorter than one entry, but not what is empty', () => {
    expect(() => listed(new TextEncoder().encode('read me')).end()).toThrow(TarError);
    expect(() => listed(new Uint8Array()).end()).not.toThrow();
    expect(() => listed(tarOf([])).end()).not.toThrow();
  });

  test('a name that is longer than any memory for it', () => {
    expect(() => listed(tarOf([{ path: 'x', type: 'x', size: 10_000_000 }]))).toThrow(TarError);
  });
});

test('names of more characters than a list may hold end the list', () => {
  const lister = new TarLister(1_000_000);
  const member = (n: number): Member[] => [
    { path: '././@LongLink', type: 'L', content: `${n}${'x'.repeat(60_000)}\0` },
    { path: 'short' },
  ];
  for (let n = 0; n < 100 && !lister.done; n++) lister.push(tarOf(member(n)).subarray(0, -1024));
  expect([lister.truncated, lister.entries.length]).toEqual([true, 66]);
});

test('the time of an entry is read, and one that cannot be read is 0', () => {
  const bytes = tarOf([{ path: 'a', modified: 1_700_000_000 }]);
  expect(listed(bytes).entries).toMatchObject([{ modified: 1_700_000_000 }]);
  expect(listed(tarOf([{ path: 'a' }])).entries).toMatchObject([{ modified: 0 }]);
});

test('an archive that ends early lists what was there', () => {
  expect(listed(tarOf(MEMBERS).subarray(0, 700)).entries.map(({ path }) => path)).toEqual(['app/']);
});
