/** What the reference says about an operation. The Worker has none of it: its routes stand in the folder above. */
import type * as z from 'zod';
import type { Reason } from '../../../vocabulary/reasons.ts';
import type { Operation } from '../operation.ts';

export interface Description {
  /** The group in the OpenAPI document. */
  group: string;
  summary: string;
  /** Markdown. */
  description?: string;
  /** The answers by HTTP status. An answer without a schema has no body. */
  answers: Record<number, { description: string; schema?: z.ZodType }>;
  /**
   * The example request in the documentation. Every operation with a body has one. `path` contains the values that differ from
   * those in `samples.ts`. `npm run examples` sends the request to a registry and records the answer.
   */
  example?: { path?: Record<string, string>; query?: Record<string, string>; body?: unknown };
  /**
   * Additional reasons of refusals, each with its condition. The refusals that follow from the requirement, the body, the query
   * and the conditions of requests are declared without this (`declared-errors.ts`).
   */
  refusals?: Partial<Record<Reason, string>>;
}

/** The descriptions of operations by method and pattern of the path, for example `GET /users/:user`. */
export type Reference = Record<string, Description>;

/** An operation with its description. */
export type Described = Operation & Description;
