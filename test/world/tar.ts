/** Creates tar archives, including invalid ones. */

export interface Member {
  path: string;
  type?: string;
  content?: string;
  mode?: number;
  target?: string;
  /** Seconds since the epoch. */
  modified?: number;
  /** The size in the header, if it must differ from the size of the content. */
  size?: number;
}

const BLOCK = 512;
const encoder = new TextEncoder();

/** Returns an archive with these members, in ustar format. */
export function tarOf(members: readonly Member[]): Uint8Array<ArrayBuffer> {
  const blocks = members.flatMap((member) => [headerOf(member), padded(encoder.encode(member.content ?? ''))]);
  return joined([...blocks, new Uint8Array(2 * BLOCK)]);
}

function headerOf({ path, type = '0', content = '', mode = 0o644, target = '', modified, size }: Member): Uint8Array {
  const header = new Uint8Array(BLOCK);
  const put = (text: string, at: number) => header.set(encoder.encode(text), at);
  put(path.slice(0, 100), 0);
  put(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  put(`${(size ?? encoder.encode(content).length).toString(8).padStart(11, '0')}\0`, 124);
  if (modified !== undefined) put(`${modified.toString(8).padStart(11, '0')}\0`, 136);
  put('        ', 148);
  put(type, 156);
  put(target, 157);
  put('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

function padded(bytes: Uint8Array): Uint8Array {
  const block = new Uint8Array(Math.ceil(bytes.length / BLOCK) * BLOCK);
  block.set(bytes);
  return block;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
