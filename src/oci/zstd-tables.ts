/** The code tables of Zstandard (RFC 8878, sections 4.1 and 4.2): finite state entropy (FSE) and Huffman codes. Pure. */

/** Data that are no valid Zstandard, or that would take too much memory. The message is for users. */
export class ZstdError extends Error {}

export function damaged(): ZstdError {
  return new ZstdError('the layer is no valid zstd');
}

/** Reads bits from the end of a range of bytes to its beginning. The highest bit that is set marks where they begin. */
export class BackwardBits {
  readonly bytes: Uint8Array;
  /** The number of bits that are left. */
  left: number;
  readonly #from: number;

  constructor(bytes: Uint8Array, from: number, to: number) {
    const last = to > from ? (bytes[to - 1] ?? 0) : 0;
    if (last === 0) throw damaged();
    this.bytes = bytes;
    this.#from = from;
    this.left = (to - from) * 8 - 1 - Math.clz32(last << 24);
  }

  /** @param count at most 25 */
  read(count: number): number {
    this.left -= count;
    if (this.left < 0) throw damaged();
    return this.#bitsAt(this.left, count);
  }

  /** Returns the next bits without consuming them. Zeros stand for bits that are missing. */
  peek(count: number): number {
    const at = this.left - count;
    return at >= 0 ? this.#bitsAt(at, count) : this.#bitsAt(0, this.left) << -at;
  }

  #bitsAt(at: number, count: number): number {
    const { bytes } = this;
    const byte = this.#from + (at >> 3);
    const word =
      (bytes[byte] as number) | ((bytes[byte + 1] ?? 0) << 8) | ((bytes[byte + 2] ?? 0) << 16) | ((bytes[byte + 3] ?? 0) << 24);
    return (word >>> (at & 7)) & ((1 << count) - 1);
  }
}

/** A decoding table of finite state entropy. */
export interface FseTable {
  /** The number of bits of a state. */
  log: number;
  symbols: Uint8Array;
  bits: Uint8Array;
  bases: Uint16Array;
}

export function floorLog2(value: number): number {
  return 31 - Math.clz32(value);
}

/** A table that always gives the same symbol. */
export function constantTable(symbol: number): FseTable {
  return { log: 0, symbols: Uint8Array.of(symbol), bits: new Uint8Array(1), bases: new Uint16Array(1) };
}

/** @param counts the number of states of each symbol. -1 means less than one, and takes one. */
export function fseTable(counts: readonly number[], log: number): FseTable {
  const size = 1 << log;
  const table = { log, symbols: new Uint8Array(size), bits: new Uint8Array(size), bases: new Uint16Array(size) };
  const next = Uint16Array.from(counts, (count) => Math.abs(count));
  let high = size;
  for (const [symbol, count] of counts.entries()) if (count === -1) table.symbols[--high] = symbol;
  let at = 0;
  for (const [symbol, count] of counts.entries()) {
    for (let n = 0; n < count; n++) {
      table.symbols[at] = symbol;
      do at = (at + (size >> 1) + (size >> 3) + 3) & (size - 1);
      while (at >= high);
    }
  }
  for (let state = 0; state < size; state++) {
    const symbol = table.symbols[state] as number;
    const value = next[symbol] as number;
    next[symbol] = value + 1;
    const bits = log - floorLog2(value);
    table.bits[state] = bits;
    table.bases[state] = (value << bits) - size;
  }
  return table;
}

/** Reads the description of a table (RFC 8878, 4.1.1). @returns the table, and the place behind its description */
export function readFseTable(
  bytes: Uint8Array,
  from: number,
  to: number,
  most: { log: number; symbol: number },
): { table: FseTable; end: number } {
  let bit = from * 8;
  const read = (count: number) => {
    const byte = bit >> 3;
    const word = (bytes[byte] ?? 0) | ((bytes[byte + 1] ?? 0) << 8) | ((bytes[byte + 2] ?? 0) << 16);
    bit += count;
    return (word >>> ((bit - count) & 7)) & ((1 << count) - 1);
  };
  const log = read(4) + 5;
  if (log > most.log) throw damaged();
  const counts: number[] = [];
  let left = 1 << log;
  while (left > 0 && counts.length <= most.symbol) {
    const bits = floorLog2(left + 1) + 1;
    const low = (1 << (bits - 1)) - 1;
    const short = (1 << bits) - 2 - left;
    let value = read(bits);
    if ((value & low) < short) {
      value &= low;
      bit--;
    } else if (value > low) value -= short;
    counts.push(value - 1);
    left -= Math.abs(value - 1);
    // Symbols without a state follow, three in one pair of bits.
    for (let zeros = value === 1 ? 3 : 0; zeros === 3; ) {
      zeros = read(2);
      for (let n = 0; n < zeros; n++) counts.push(0);
    }
  }
  const end = (bit + 7) >> 3;
  if (left !== 0 || counts.length > most.symbol + 1 || end > to) throw damaged();
  return { table: fseTable(counts, log), end };
}

/** A decoding table of Huffman codes, indexed by the next `log` bits. */
export interface HuffmanTable {
  log: number;
  symbols: Uint8Array;
  bits: Uint8Array;
}

const HUFFMAN_LOG_MAX = 11;

/** Reads the description of a Huffman table (RFC 8878, 4.2.1). @returns the table, and the place behind its description */
export function readHuffmanTable(bytes: Uint8Array, from: number, to: number): { table: HuffmanTable; end: number } {
  const header = bytes[from] ?? 0;
  const isDirect = header >= 128;
  const end = from + 1 + (isDirect ? (header - 126) >> 1 : header);
  if (end > to) throw damaged();
  const weights = isDirect
    ? Array.from({ length: header - 127 }, (_, n) => ((bytes[from + 1 + (n >> 1)] ?? 0) >> (n % 2 === 0 ? 4 : 0)) & 15)
    : weightsIn(bytes, from + 1, end);
  return { table: huffmanTable(weights), end };
}

/** Weights that are coded by two states in turn. */
function weightsIn(bytes: Uint8Array, from: number, to: number): number[] {
  const { table, end } = readFseTable(bytes, from, to, { log: 6, symbol: 12 });
  const stream = new BackwardBits(bytes, end, to);
  const weights: number[] = [];
  let state = stream.read(table.log);
  let other = stream.read(table.log);
  while (weights.length < 255) {
    weights.push(table.symbols[state] as number);
    const bits = table.bits[state] as number;
    if (stream.left < bits) {
      weights.push(table.symbols[other] as number);
      return weights;
    }
    const next = (table.bases[state] as number) + stream.read(bits);
    state = other;
    other = next;
  }
  throw damaged();
}

/** @param weights those of all symbols but the last, whose weight fills the table */
function huffmanTable(weights: number[]): HuffmanTable {
  const sum = weights.reduce((total, weight) => total + (weight > 0 ? 1 << (weight - 1) : 0), 0);
  const log = sum === 0 ? 0 : floorLog2(sum) + 1;
  const rest = (1 << log) - sum;
  if (log === 0 || log > HUFFMAN_LOG_MAX || weights.length > 255 || (rest & (rest - 1)) !== 0) throw damaged();
  const all = [...weights, floorLog2(rest) + 1];
  const table = { log, symbols: new Uint8Array(1 << log), bits: new Uint8Array(1 << log) };
  let at = 0;
  for (let weight = 1; weight <= log; weight++) {
    for (const [symbol, own] of all.entries()) {
      if (own !== weight) continue;
      table.symbols.fill(symbol, at, at + (1 << (weight - 1)));
      table.bits.fill(log + 1 - weight, at, at + (1 << (weight - 1)));
      at += 1 << (weight - 1);
    }
  }
  return table;
}
