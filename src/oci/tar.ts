/**
 * Lists the entries of a tar archive while it is read, without keeping the contents of its files. Supports POSIX ustar and pax
 * (IEEE Std 1003.1, pax, "ustar Interchange Format"), and the long names of GNU tar. This module does no I/O.
 */

export interface TarEntry {
  path: string;
  /**
   * The kind of the entry. `removed` is a whiteout, which deletes a file of a lower layer; `emptied` is an opaque whiteout,
   * which deletes all files of the folder in lower layers (OCI image-spec, layer, "Whiteouts").
   */
  kind: 'file' | 'folder' | 'link' | 'hard link' | 'removed' | 'emptied' | 'other';
  size: number;
  /** The permission bits. */
  mode: number;
  /** The number of seconds since 1970-01-01 UTC. */
  modified: number;
  /** The path to which a link leads. `null` for entries that are no links. */
  target: string | null;
}

const BLOCK = 512;
/** The maximum number of bytes of a long name or of pax records. Archives that real tools make stay below it. */
const RECORDS_MAX = 64 * 1024;

/** The maximum number of characters of all paths and targets together. */
const CHARACTERS_MAX = 4_000_000;

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** An archive that cannot be read. The message is for users. */
export class TarError extends Error {}

const NO_ARCHIVE = 'the layer is no tar archive, or is damaged';

type Step =
  | { kind: 'header' }
  | { kind: 'skip'; left: number }
  | { kind: 'records'; type: string; size: number; padded: number; bytes: Uint8Array; filled: number };

/** Reads an archive that is passed in chunks of any size. */
export class TarLister {
  readonly entries: TarEntry[] = [];
  /** The number of characters in the paths and link targets of all entries. */
  characters = 0;
  /** True after the end of the archive, or after `max` entries. */
  done = false;
  /** True if there are more entries than `max`, or more than a list may hold. */
  truncated = false;
  readonly #max: number;
  readonly #header = new Uint8Array(BLOCK);
  #filled = 0;
  #step: Step = { kind: 'header' };
  #long: { path?: string; target?: string; size?: number } = {};

  constructor(max: number) {
    this.#max = max;
  }

  /** @throws TarError if the bytes are no tar archive */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && !this.done) at += this.#take(chunk, at);
  }

  /** Ends the archive, which may be cut. @throws TarError if there is less than one entry of an archive */
  end(): void {
    if (this.#filled > 0 && this.entries.length === 0) throw new TarError(NO_ARCHIVE);
  }

  /** Processes the beginning of the rest of the chunk. @returns the number of processed bytes */
  #take(chunk: Uint8Array, at: number): number {
    const step = this.#step;
    const available = chunk.length - at;
    if (step.kind === 'skip') {
      const used = Math.min(available, step.left);
      step.left -= used;
      if (step.left === 0) this.#step = { kind: 'header' };
      return used;
    }
    if (step.kind === 'records') {
      const used = Math.min(available, step.padded - step.filled);
      step.bytes.set(chunk.subarray(at, at + used), step.filled);
      step.filled += used;
      if (step.filled === step.padded) this.#endRecords(step.type, step.bytes.subarray(0, step.size));
      return used;
    }
    const used = Math.min(available, BLOCK - this.#filled);
    this.#header.set(chunk.subarray(at, at + used), this.#filled);
    this.#filled += used;
    if (this.#filled === BLOCK) {
      this.#filled = 0;
      this.#readHeader(this.#header);
    }
    return used;
  }

  #readHeader(header: Uint8Array): void {
    // Two blocks of zeros end an archive. The first of them suffices here.
    if (header.every((byte) => byte === 0)) {
      this.done = true;
      return;
    }
    if (!hasChecksum(header)) throw new TarError(NO_ARCHIVE);
    const type = String.fromCharCode(header[156] ?? 0);
    const size = this.#long.size ?? numberIn(header.subarray(124, 136));
    const padded = Math.ceil(size / BLOCK) * BLOCK;
    if ('xLK'.includes(type) && type !== '\0') {
      if (size > RECORDS_MAX) throw new TarError('the layer has a file name that is too long');
      if (padded > 0) this.#step = { kind: 'records', type, size, padded, bytes: new Uint8Array(padded), filled: 0 };
      return;
    }
    if (type !== 'g') this.#add(header, type, size);
    // Only files have contents in the archive. For some links an archive states a size too, but no content follows.
    const hasContent = type === '0' || type === '\0' || type === '7' || type === 'g';
    if (hasContent && padded > 0) this.#step = { kind: 'skip', left: padded };
  }

  #add(header: Uint8Array, type: string, size: number): void {
    const { path = nameIn(header), target = textIn(header.subarray(157, 257)) } = this.#long;
    this.#long = {};
    this.characters += path.length + target.length;
    if (this.entries.length >= this.#max || this.characters > CHARACTERS_MAX) {
      this.truncated = true;
      this.done = true;
      return;
    }
    const mode = numberIn(header.subarray(100, 108)) & 0o7777;
    const modified = secondsIn(header.subarray(136, 148));
    this.entries.push(entryOf(path.replace(/^\.?\//, ''), kindOf(type), { size, mode, modified, target }));
  }

  #endRecords(type: string, bytes: Uint8Array): void {
    this.#step = { kind: 'header' };
    if (type === 'L') this.#long.path = textIn(bytes);
    else if (type === 'K') this.#long.target = textIn(bytes);
    else Object.assign(this.#long, recordsIn(bytes));
  }
}

function entryOf(
  path: string,
  kind: TarEntry['kind'],
  about: { size: number; mode: number; modified: number; target: string },
): TarEntry {
  const slash = path.lastIndexOf('/') + 1;
  const [folder, name] = [path.slice(0, slash), path.slice(slash)];
  const removed = { size: 0, mode: 0, modified: 0, target: null };
  if (name === OPAQUE) return { path: folder, kind: 'emptied', ...removed };
  if (name.startsWith(WHITEOUT)) return { path: folder + name.slice(WHITEOUT.length), kind: 'removed', ...removed };
  const isLink = kind === 'link' || kind === 'hard link';
  const { mode, modified, target } = about;
  return { path, kind, size: kind === 'file' ? about.size : 0, mode, modified, target: isLink ? target : null };
}

function kindOf(type: string): TarEntry['kind'] {
  if (type === '0' || type === '\0' || type === '7') return 'file';
  if (type === '5') return 'folder';
  if (type === '2') return 'link';
  return type === '1' ? 'hard link' : 'other';
}

/**
 * Checks the checksum of a header: the sum of its bytes, with the checksum field counted as spaces. Some old tools add up
 * signed bytes.
 */
function hasChecksum(header: Uint8Array): boolean {
  let unsigned = 0;
  let signed = 0;
  for (const [at, byte] of header.entries()) {
    const value = at >= 148 && at < 156 ? 32 : byte;
    unsigned += value;
    signed += value > 127 ? value - 256 : value;
  }
  const stated = Number.parseInt(textIn(header.subarray(148, 156)).trim(), 8);
  return stated === unsigned || stated === signed;
}

function nameIn(header: Uint8Array): string {
  const name = textIn(header.subarray(0, 100));
  const isUstar = textIn(header.subarray(257, 262)) === 'ustar';
  const prefix = isUstar && header[263] === 48 ? textIn(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

const decoder = new TextDecoder();

function textIn(field: Uint8Array): string {
  const end = field.indexOf(0);
  return decoder.decode(end < 0 ? field : field.subarray(0, end));
}

/**
 * Reads a number: octal digits, or GNU's binary form, in which the highest bit is set. @throws TarError if the number is too
 * large
 */
function numberIn(field: Uint8Array): number {
  const isBinary = ((field[0] ?? 0) & 0x80) !== 0;
  const number = isBinary
    ? field.reduce((sum, byte, at) => sum * 256 + (at === 0 ? byte & 0x7f : byte), 0)
    : Number.parseInt(textIn(field).trim() || '0', 8);
  if (!Number.isSafeInteger(number) || number < 0) throw new TarError('the layer states a size that is no number');
  return number;
}

/** The last second that a date of four digits can name. */
const LAST_SECOND = 253_402_300_799;

/** A time. It only tells versions of a file apart, so 0 will do for one that cannot be read, or that is before the epoch. */
function secondsIn(field: Uint8Array): number {
  const seconds = Number.parseInt(textIn(field).trim() || '0', 8);
  return seconds > 0 && seconds <= LAST_SECOND ? seconds : 0;
}

/** Returns the pax records that override the path, link target or size of the next entry: `<length> <key>=<value>\n`. */
function recordsIn(bytes: Uint8Array): { path?: string; target?: string; size?: number } {
  const found: { path?: string; target?: string; size?: number } = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at);
    const length = space < 0 ? Number.NaN : Number(decoder.decode(bytes.subarray(at, space)));
    if (!Number.isInteger(length) || length <= 0) return found;
    const [, key = '', value = ''] = /^([^=]*)=(.*)$/s.exec(decoder.decode(bytes.subarray(space + 1, at + length - 1))) ?? [];
    if (key === 'path') found.path = value;
    else if (key === 'linkpath') found.target = value;
    else if (key === 'size' && /^\d{1,15}$/.test(value)) found.size = Number(value);
    at += length;
  }
  return found;
}
