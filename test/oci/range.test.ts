import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contentRange, parseChunkRange, requestedRange, requestedRanges } from '../../src/oci/range.ts';
import { isRefusal } from '../../src/vocabulary/refusal.ts';

describe('a Range of a content of 1,000 bytes', () => {
  test.each<[string, number, number]>([
    ['bytes=0-0', 0, 1],
    ['bytes=0-99', 0, 100],
    ['bytes=500-', 500, 500],
    ['bytes=-10', 990, 10],
    ['bytes=-1000', 0, 1000],
    ['bytes=-5000', 0, 1000],
    ['bytes=999-', 999, 1],
    ['bytes=0-999', 0, 1000],
    ['bytes=0-5000', 0, 1000],
    [`bytes=5-${'9'.repeat(400)}`, 5, 995],
    ['BYTES=0-1', 0, 2],
    [' bytes=0-1 ', 0, 2],
  ])('%.40s is the bytes from %i, %i of them', (header, offset, length) => {
    expect(requestedRange(header, 1000)).toEqual({ offset, length });
  });

  test.each(['bytes=500-0', 'bytes=1000-', 'bytes=1000-1001', 'bytes=-0', `bytes=${'9'.repeat(400)}-`])(
    '%.40s cannot be satisfied, and the answer says how long the content is',
    (header) => {
      expect(() => requestedRange(header, 1000)).toThrow(
        expect.objectContaining({ reason: 'range-not-satisfiable', size: 1000 }),
      );
    },
  );

  test.each([
    undefined,
    null,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=1.5-2',
    'bytes=--5',
    'bytes=0x0-0x9',
    'bytes=0-1,5-6',
    'items=0-5',
    'bytes = 0-5',
    '0-5',
  ])('%j asks for nothing we know, so the whole is sent', (header) => {
    expect(requestedRange(header, 1000)).toBeNull();
  });

  test('written back is what the answer contains', () => {
    expect(contentRange({ offset: 990, length: 10 }, 1000)).toBe('bytes 990-999/1000');
  });
});

test('no range of an empty content can be satisfied', () => {
  for (const header of ['bytes=0-0', 'bytes=0-', 'bytes=-1', 'bytes=-0', 'bytes=5-']) {
    expect(() => requestedRange(header, 0)).toThrow(expect.objectContaining({ reason: 'range-not-satisfiable', size: 0 }));
  }
});

test('the resulting bytes are always within the content', () => {
  const number = fc.oneof(fc.nat(30).map(String), fc.constant(''), fc.bigInt({ min: 0n, max: 2n ** 80n }).map(String));
  fc.assert(
    fc.property(number, number, fc.nat(20), (first, last, size) => {
      try {
        const range = requestedRange(`bytes=${first}-${last}`, size);
        return range === null || (range.offset >= 0 && range.length > 0 && range.offset + range.length <= size);
      } catch (error) {
        return isRefusal(error, 'range-not-satisfiable');
      }
    }),
    { numRuns: 10_000 },
  );
});

describe('the Content-Range of a chunk', () => {
  test.each<[string, number, number]>([
    ['0-0', 0, 1],
    ['5-14', 5, 10],
    ['bytes 0-9', 0, 10],
    ['BYTES 0-9', 0, 10],
    ['Bytes  0-9/10', 0, 10],
    ['bytes=0-9', 0, 10],
    ['bytes 0-9/10', 0, 10],
    ['0-9/*', 0, 10],
    [' 0-9 ', 0, 10],
    ['0-9007199254740991', 0, 2 ** 53],
  ])('%s is the bytes from %i, %i of them', (header, offset, length) => {
    expect(parseChunkRange(header)).toEqual({ offset, length });
  });

  test.each([
    '',
    '9-0',
    'abc-def',
    '0-',
    '-5',
    '-',
    '0',
    '0-1-2',
    '0,5',
    '1.0-2',
    '0x0-0x9',
    'bytes */10',
    '0-18446744073709551616',
    '0-9007199254740993',
    '٠-٩',
  ])('%j is refused, and not guessed at', (header) => {
    expect(() => parseChunkRange(header)).toThrow(expect.objectContaining({ reason: 'chunk-out-of-order' }));
  });

  test('that is absent claims nothing', () => {
    expect(parseChunkRange(undefined)).toBeNull();
    expect(parseChunkRange(null)).toBeNull();
  });
});

describe('several ranges of a content of 10,000 bytes', () => {
  const spans = (header: string, size = 10_000) =>
    requestedRanges(header, size)
      ?.map(({ offset, length }) => `${offset}-${offset + length - 1}`)
      .join(' ') ?? null;

  test.each([
    ['bytes=0-9,1000-1009', '0-9 1000-1009'],
    ['bytes=1000-1009,0-9', '0-9 1000-1009'],
    ['bytes=0-9, -10', '0-9 9990-9999'],
    ['bytes=0-0,9999-', '0-0 9999-9999'],
    ['bytes=0-9,1000-1009,20000-', '0-9 1000-1009'],
    ['bytes=0-99,50-149', '0-149'],
    ['bytes=0-99,100-199', '0-199'],
    ['bytes=0-99,228-299', '0-299'],
    ['bytes=0-99,229-299', '0-99 229-299'],
    ['bytes=0-999,10-19', '0-999'],
    ['bytes=5000-,-5000', '5000-9999'],
    ['BYTES=0-9,\t1000-1009 ,', '0-9 1000-1009'],
    ['bytes=7-7', '7-7'],
  ])('%s are %s', (header, expected) => {
    expect(spans(header)).toBe(expected);
  });

  const apart = (count: number) => `bytes=${Array.from({ length: count }, (_, n) => `${n * 300}-${n * 300 + 9}`).join()}`;

  test('are at most 32 after merging, and the whole if there are more', () => {
    expect(spans(apart(32))?.split(' ')).toHaveLength(32);
    expect(spans(apart(33))).toBeNull();
    expect(spans(`bytes=${Array.from({ length: 1000 }, (_, n) => `${n * 2}-${n * 2}`).join()}`)).toBe('0-1998');
    expect(spans(`bytes=${'0-1,'.repeat(2000)}`)).toBeNull();
  });

  test.each(['bytes=0-9,a-b', 'bytes=0-9,9-0', 'bytes=0-9,-', 'bytes=0-9;10-19', 'bytes=0-9 10-19', 'items=0-9,1000-1009'])(
    '%s is ignored',
    (header) => {
      expect(spans(header)).toBeNull();
    },
  );

  test.each(['bytes=10000-,20000-', 'bytes=-0,10000-'])('%s lie outside, all of them', (header) => {
    expect(() => spans(header)).toThrow(expect.objectContaining({ reason: 'range-not-satisfiable' }));
    expect(() => spans('bytes=0-9,1000-1009', 0)).toThrow(expect.objectContaining({ reason: 'range-not-satisfiable' }));
  });

  test('contain every requested byte, and none twice', () => {
    const spec = fc.tuple(fc.nat(3000), fc.nat(300)).map(([first, length]) => [first, first + length] as const);
    fc.assert(
      fc.property(fc.array(spec, { minLength: 2, maxLength: 40 }), fc.integer({ min: 1, max: 3000 }), (specs, size) => {
        const asked = specs.filter(([first]) => first < size);
        fc.pre(asked.length > 0);
        const ranges = requestedRanges(`bytes=${specs.map(([first, last]) => `${first}-${last}`).join()}`, size);
        const bytes = (ranges ?? [{ offset: 0, length: size }]).flatMap(({ offset, length }) =>
          Array.from({ length }, (_, n) => offset + n),
        );
        expect(new Set(bytes).size).toBe(bytes.length);
        expect(Math.max(...bytes)).toBeLessThan(size);
        const sent = new Set(bytes);
        for (const [first, last] of asked) expect(sent.has(first) && sent.has(Math.min(last, size - 1))).toBe(true);
      }),
    );
  });
});
