/** The types of one row in the table of ECR operations, and of the context that its function gets. */
import type * as z from 'zod';
import type { Caller } from '../../app/authentication.ts';
import type { Call } from '../../app/call.ts';
import type { Reason } from '../../vocabulary/reasons.ts';

/** The context of an operation of the ECR API. */
export interface EcrCall extends Call {
  caller: Caller;
  uploading: null;
  assumed: null;
  /** The registry's number of 12 digits, which is used where AWS has an account id. */
  registryId: string;
  /** The region that the client has configured. The registry accepts any region, and shows it in ARNs. */
  region: string;
  /** The bytes of the member that `EcrOperation.blob` names. Empty for other operations. */
  bytes: Uint8Array;
}

export interface EcrOperation<S extends z.ZodType = z.ZodType> {
  /** The schema of the input. Unknown members are ignored, as AWS does. */
  input: S;
  /** What is charged to the account. `list` reads many rows, and `write` writes some; both are limited. */
  cost: 'read' | 'list' | 'write';
  /** The error types that differ from the table in `errors.ts`, without the ending `Exception`. */
  types?: Partial<Record<Reason, string>>;
  /** The maximum number of bytes of the body, if it differs from the default. */
  bodyMax?: number;
  /** A member in base64 that is too long for a string. Its bytes are in the call, and the input has '' in its place. */
  blob?: string;
  /** Calls one operation of `app/` and returns the output. */
  answer(call: EcrCall, input: z.output<S>): Promise<object> | object;
}

/** Declares an operation, so that TypeScript infers the type of the input from the schema. */
export function ecrOperation<S extends z.ZodType>(row: EcrOperation<S>): EcrOperation {
  return row as unknown as EcrOperation;
}
