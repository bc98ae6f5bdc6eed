/** One row of the table of operations of the ECR API, and what a row gets. */
import type * as z from 'zod';
import type { Caller } from '../../app/authentication.ts';
import type { Call } from '../../app/call.ts';
import type { Reason } from '../../vocabulary/reasons.ts';

/** The context of an operation of the ECR API. */
export interface EcrCall extends Call {
  caller: Caller;
  uploading: null;
  assumed: null;
  /** The registry's number of 12 digits, which stands in for the id of an AWS account. */
  registryId: string;
  /** The region that the client has configured. The registry accepts any, and shows it in ARNs. */
  region: string;
}

export interface EcrOperation<S extends z.ZodType = z.ZodType> {
  /** The schema of the input. Unknown members are ignored, as AWS does it. */
  input: S;
  /** `list` reads many rows, and `write` writes some; both are limited for each account. */
  cost: 'read' | 'list' | 'write';
  /** The types of errors that differ from the table in `errors.ts`, without the ending `Exception`. */
  types?: Partial<Record<Reason, string>>;
  /** The maximum number of bytes of the body, if it is not the default. */
  bodyMax?: number;
  /** Calls one operation of `app/`, and returns the output. */
  answer(call: EcrCall, input: z.output<S>): Promise<object> | object;
}

/** Declares an operation, so that its input has the type of its schema. */
export function ecrOperation<S extends z.ZodType>(row: EcrOperation<S>): EcrOperation {
  return row as unknown as EcrOperation;
}
