/** Decodes the compressed blocks of Zstandard (RFC 8878, section 3.1.1.3). Pure. */
import {
  BackwardBits,
  constantTable,
  damaged,
  type FseTable,
  fseTable,
  type HuffmanTable,
  readFseTable,
  readHuffmanTable,
  ZstdError,
} from './zstd-tables.ts';

/** The maximum number of bytes of a block, packed or unpacked. */
export const BLOCK_MAX = 128 * 1024;

/** What a block takes from the blocks before it, and leaves to the next one. */
export interface FrameState {
  huffman: HuffmanTable | null;
  /** Tables of literal lengths, offsets and match lengths. */
  tables: (FseTable | null)[];
  /** The last three offsets. */
  offsets: [number, number, number];
}

/** Where unpacked bytes are written, behind those to which matches lead back. */
export interface Output {
  bytes: Uint8Array;
  at: number;
  /** The end of what this block may write. */
  end: number;
}

const LITERALS = new Uint8Array(BLOCK_MAX);

/** Unpacks the compressed block in `bytes`. */
export function unpackBlock(bytes: Uint8Array, state: FrameState, out: Output): void {
  const { literals, end } = readLiterals(bytes, state, out.end - out.at);
  const { count, at } = readCount(bytes, end);
  let used = 0;
  if (count > 0) used = unpackSequences(bytes, { state, out, literals, count, from: at });
  else if (at !== bytes.length) throw damaged();
  append(out, literals, used, literals.length - used);
}

function append(out: Output, from: Uint8Array, at: number, length: number): void {
  if (length > out.end - out.at || length < 0) throw damaged();
  if (length < SMALL) for (let n = 0; n < length; n++) out.bytes[out.at + n] = from[at + n] as number;
  else out.bytes.set(from.subarray(at, at + length), out.at);
  out.at += length;
}

/** Copies of fewer bytes are faster in a loop. */
const SMALL = 48;

interface Literals {
  literals: Uint8Array;
  end: number;
}

function readLiterals(bytes: Uint8Array, state: FrameState, most: number): Literals {
  const [b0 = 0, b1 = 0, b2 = 0, b3 = 0, b4 = 0] = bytes;
  const [type, format] = [b0 & 3, (b0 >> 2) & 3];
  if (type < 2) {
    const length = (format & 1) === 0 ? 1 : format === 1 ? 2 : 3;
    const size = length === 1 ? b0 >> 3 : (b0 >> 4) | (b1 << 4) | (length === 3 ? b2 << 12 : 0);
    const end = length + (type === 0 ? size : 1);
    if (size > most || end > bytes.length) throw damaged();
    if (type === 0) return { literals: bytes.subarray(length, end), end };
    return { literals: LITERALS.subarray(0, size).fill(bytes[length] as number), end };
  }
  const length = format < 2 ? 3 : format + 2;
  const size = (b0 >> 4) | (length === 3 ? (b1 & 63) << 4 : (b1 << 4) | ((b2 & (length === 4 ? 3 : 63)) << 12));
  const packed =
    length === 3 ? (b1 >> 6) | (b2 << 2) : length === 4 ? (b2 >> 2) | (b3 << 6) : (b2 >> 6) | (b3 << 2) | (b4 << 10);
  const end = length + packed;
  if (size > most || end > bytes.length) throw damaged();
  let at = length;
  if (type === 2) {
    const read = readHuffmanTable(bytes, at, end);
    state.huffman = read.table;
    at = read.end;
  }
  if (state.huffman === null) throw damaged();
  const literals = LITERALS.subarray(0, size);
  if (format === 0) unpackHuffman(bytes, at, end, state.huffman, literals);
  else unpackFour(bytes, at, end, state.huffman, literals);
  return { literals, end };
}

/** Four streams of about the same number of symbols, behind the lengths of the first three. */
function unpackFour(bytes: Uint8Array, from: number, to: number, table: HuffmanTable, into: Uint8Array): void {
  const each = (into.length + 3) >> 2;
  if (to - from < 6 || into.length < 6) throw damaged();
  let at = from + 6;
  for (let n = 0; n < 4; n++) {
    const length = (bytes[from + 2 * n] as number) | ((bytes[from + 2 * n + 1] as number) << 8);
    const end = n === 3 ? to : at + length;
    if (end > to) throw damaged();
    unpackHuffman(bytes, at, end, table, into.subarray(n * each, n === 3 ? into.length : (n + 1) * each));
    at = end;
  }
}

function unpackHuffman(bytes: Uint8Array, from: number, to: number, table: HuffmanTable, into: Uint8Array): void {
  const stream = new BackwardBits(bytes, from, to);
  const { log, symbols, bits } = table;
  for (let n = 0; n < into.length; n++) {
    const code = stream.peek(log);
    into[n] = symbols[code] as number;
    stream.left -= bits[code] as number;
    if (stream.left < 0) throw damaged();
  }
  if (stream.left !== 0) throw damaged();
}

function readCount(bytes: Uint8Array, at: number): { count: number; at: number } {
  const [b0 = -1, b1 = 0, b2 = 0] = bytes.subarray(at, at + 3);
  if (b0 < 0) throw damaged();
  if (b0 < 128) return { count: b0, at: at + 1 };
  if (b0 < 255) return { count: ((b0 - 128) << 8) + b1, at: at + 2 };
  return { count: b1 + (b2 << 8) + 0x7f00, at: at + 3 };
}

/** The literal lengths and match lengths of the codes: the base, and the number of bits that are added to it. */
const LENGTH_BITS = [...zeros(16), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const MATCH_BITS = [...zeros(32), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const LENGTH_BASES = basesOf(LENGTH_BITS, 0);
const MATCH_BASES = basesOf(MATCH_BITS, 3);

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0);
}

/** Each code begins where the one before it ends. */
function basesOf(bits: readonly number[], first: number): number[] {
  let next = first;
  return bits.map((count) => {
    const base = next;
    next += 1 << count;
    return base;
  });
}

/** The tables that blocks may use without describing them. */
const LENGTHS = [
  4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
];
const OFFSETS = [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];
const MATCHES = [1, 4, 3, 2, 2, 2, 2, 2, 2, ...Array.from({ length: 37 }, () => 1), -1, -1, -1, -1, -1, -1, -1];
const KINDS = [
  { predefined: fseTable(LENGTHS, 6), most: { log: 9, symbol: 35 } },
  { predefined: fseTable(OFFSETS, 5), most: { log: 8, symbol: 31 } },
  { predefined: fseTable(MATCHES, 6), most: { log: 9, symbol: 52 } },
];

interface Sequences {
  state: FrameState;
  out: Output;
  literals: Uint8Array;
  count: number;
  from: number;
}

/** @returns the number of literals that were used */
function unpackSequences(bytes: Uint8Array, { state, out, literals, count, from }: Sequences): number {
  const [lengths, offsets, matches, at] = readTables(bytes, state, from);
  const stream = new BackwardBits(bytes, at, bytes.length);
  let [length, offset, match] = [stream.read(lengths.log), stream.read(offsets.log), stream.read(matches.log)];
  let used = 0;
  for (let n = 0; n < count; n++) {
    const lengthCode = lengths.symbols[length] as number;
    const offsetCode = offsets.symbols[offset] as number;
    const matchCode = matches.symbols[match] as number;
    if (offsetCode > OFFSET_BITS_MAX) throw new ZstdError('the layer is packed by zstd with a window that is too large');
    const value = (1 << offsetCode) + stream.read(offsetCode);
    const matchLength = (MATCH_BASES[matchCode] as number) + stream.read(MATCH_BITS[matchCode] as number);
    const literalLength = (LENGTH_BASES[lengthCode] as number) + stream.read(LENGTH_BITS[lengthCode] as number);
    if (used + literalLength > literals.length) throw damaged();
    append(out, literals, used, literalLength);
    used += literalLength;
    repeat(out, offsetOf(value, literalLength, state.offsets), matchLength);
    if (n === count - 1) break;
    length = (lengths.bases[length] as number) + stream.read(lengths.bits[length] as number);
    match = (matches.bases[match] as number) + stream.read(matches.bits[match] as number);
    offset = (offsets.bases[offset] as number) + stream.read(offsets.bits[offset] as number);
  }
  if (stream.left !== 0) throw damaged();
  return used;
}

/** `BackwardBits` reads 25 bits at once. Offsets of more bits need a window that is refused anyway. */
const OFFSET_BITS_MAX = 25;

function readTables(bytes: Uint8Array, state: FrameState, from: number): [FseTable, FseTable, FseTable, number] {
  const modes = bytes[from] ?? 3;
  if ((modes & 3) !== 0) throw damaged();
  let at = from + 1;
  for (const [n, { predefined, most }] of KINDS.entries()) {
    const mode = (modes >> (6 - 2 * n)) & 3;
    if (mode === 0) state.tables[n] = predefined;
    else if (mode === 1) {
      const symbol = bytes[at++] ?? 255;
      if (symbol > most.symbol) throw damaged();
      state.tables[n] = constantTable(symbol);
    } else if (mode === 2) {
      const read = readFseTable(bytes, at, bytes.length, most);
      state.tables[n] = read.table;
      at = read.end;
    }
  }
  const [lengths, offsets, matches] = state.tables;
  if (!lengths || !offsets || !matches) throw damaged();
  return [lengths, offsets, matches, at];
}

/** The offset of a match. The values 1 to 3 stand for one of the last three offsets. */
function offsetOf(value: number, literalLength: number, last: FrameState['offsets']): number {
  const first = last[0];
  const second = last[1];
  const third = last[2];
  const index = value > 3 ? 4 : value - (literalLength === 0 ? 0 : 1);
  if (index === 0) return first;
  const offset = value > 3 ? value - 3 : index === 1 ? second : index === 2 ? third : first - 1;
  if (offset === 0) throw damaged();
  if (index > 1) last[2] = second;
  last[1] = first;
  last[0] = offset;
  return offset;
}

/** Writes again what was written `offset` bytes before. */
function repeat(out: Output, offset: number, length: number): void {
  const { bytes, at } = out;
  if (offset > at || length > out.end - at) throw damaged();
  if (length > SMALL && offset >= length) bytes.copyWithin(at, at - offset, at - offset + length);
  else for (let n = at; n < at + length; n++) bytes[n] = bytes[n - offset] as number;
  out.at = at + length;
}
