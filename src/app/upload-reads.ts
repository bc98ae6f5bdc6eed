/**
 * Reads what must be known of an upload before its bytes are received. The reads are part of the D1 call that reads the
 * caller's rights. So a push of a blob in one request takes two D1 calls: this one, and the batch that publishes the blob.
 */
import { type UploadLocation, unsealUpload } from '../auth/tokens.ts';
import type { JoinedReads, Results } from '../events/batch.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { queryExistence } from '../registry/repositories/repositories.ts';
import { isSmall } from '../registry/uploads/publishing.ts';
import { FRESH, querySession, type Session } from '../registry/uploads/sessions.ts';
import { readsLimit } from '../registry/uploads/uploads.ts';
import { queryLimit } from '../registry/usage/limit.ts';
import type { Arrival } from './call.ts';

export { isSmall };

/** The headers and parameters of a request whose body contains bytes of a blob. */
export interface IncomingBlob {
  /** The signed location of the upload, or `null` if the request starts an upload. */
  location: string | null;
  /** The digest of the whole blob, or `null` if the request does not finish the upload. */
  digest: Digest | null;
  /** The number of bytes of the body, or `null` if unknown. */
  length: number | null;
}

export interface UploadReads extends JoinedReads {
  /** The parsed location. `null` if the request starts an upload, or if the location is invalid. */
  location: (UploadLocation & { owner: string }) | null;
  /** Returns the row of the upload, or `null` if it is not needed. @throws upload-unknown */
  session(): Session | null;
  /** Returns true if the repository exists. Only read for a request that starts an upload. */
  exists(): boolean;
}

export async function readsForUpload(
  call: Arrival,
  repository: RepositoryName,
  { location: sealed, digest, length }: IncomingBlob,
): Promise<UploadReads> {
  const location = sealed === null ? null : await unsealUpload(call.env, sealed, call);
  let results: Results | undefined;
  let session: (results: Results) => Session | null = () => null;
  let exists: (results: Results) => boolean = () => false;
  const from = <T>(read: (results: Results) => T): T => {
    if (results === undefined) throw new Error('the rights of the caller have not been loaded');
    return read(results);
  };
  return {
    location,
    session: () => from(session),
    exists: () => from(exists),
    addTo(batch) {
      if (location !== null) session = querySession(batch, location, digest);
      if (sealed !== null) return;
      exists = queryExistence(batch, repository);
      if (digest === null) return;
      const limit = readsLimit(length) ? queryLimit(batch, repository, digest) : () => null;
      session = (read) => ({ ...FRESH, limit: limit(read) });
    },
    take(read) {
      results = read;
    },
  };
}
