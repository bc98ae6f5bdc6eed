/** The part of the runtime's `node:zlib` that unpacks Zstandard. The types of the Workers have no module of Node. */
declare module 'node:zlib' {
  export interface ZstdDecoder {
    write(bytes: Uint8Array, done: () => void): boolean;
    end(): void;
    read(): Uint8Array | null;
    destroy(): void;
    readonly readableEnded: boolean;
    on(event: 'error', listener: (error: Error) => void): void;
    on(event: 'readable' | 'end' | 'drain' | 'close', listener: () => void): void;
  }
  export const constants: { ZSTD_d_windowLogMax: number };
  export function createZstdDecompress(options: { chunkSize: number; params: Record<number, number> }): ZstdDecoder;
}
