/** The part of Node's `crypto` module that the Worker uses. Cloudflare's runtime implements it natively. */
declare module 'node:crypto' {
  export interface Hash {
    update(bytes: Uint8Array): Hash;
    /** Returns a hash with the same state. */
    copy(): Hash;
    digest(encoding: 'hex'): string;
  }
  export function createHash(algorithm: 'sha256' | 'sha512'): Hash;
}
