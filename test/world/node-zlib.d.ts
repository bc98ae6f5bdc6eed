/** The part of the runtime's `node:zlib` that packs Zstandard, for tests. */
declare module 'node:zlib' {
  export function zstdCompressSync(bytes: Uint8Array, options: { params: Record<number, number> }): Uint8Array;
}
