/** What requests and answers about organizations and their parts have in common. */
import * as z from 'zod';
import { parseName } from '../../auth/names.ts';
import type { Grants } from '../../auth/policy-names.ts';
import { PAGE_DEFAULT } from '../../contract/pages.ts';
import type { Page } from '../../oci/page.ts';
import type { RequestContext } from '../context.ts';
import { answer, answerItems, answerNothing } from './operation.ts';

const DESCRIPTION_MAX = 200;

export const description = z
  .optional(
    z
      .string()
      .trim()
      .max(DESCRIPTION_MAX)
      .refine((text) => !/\p{Cc}/u.test(text), 'is one line of text'),
  )
  .describe('Left out, it stays as it is');

/** @throws request-invalid */
export function organizationIn(c: RequestContext): string {
  return parseName(c.req.param('organization') ?? '');
}

/** `team:acme/dev`, of the path. @throws request-invalid */
export function subjectIn(c: RequestContext, kind: 'team' | 'robot'): string {
  return `${kind}:${organizationIn(c)}/${parseName(c.req.param(kind) ?? '')}`;
}

/** `dev` of `team:acme/dev`. */
export function lastPart(subject: string): string {
  return subject.slice(subject.indexOf('/') + 1);
}

export function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

/** RFC 3339, with its zone. */
export const instant = z.iso.datetime({ offset: true });

/** The first second that is not before it: what happened is known to the second. */
export function secondsOf(time: z.output<typeof instant>): number {
  return Math.ceil(Date.parse(time) / 1000);
}

export function pageOf({ n = PAGE_DEFAULT, last = '' }: { n?: number | undefined; last?: string | undefined }) {
  return { after: last, limit: n };
}

/**
 * @param keyOf what the next page begins after
 * @param brokeOff the place, sealed, where the page ended behind its last item; `null`: it did not
 */
export function answerPage<T, S>(
  { items, more }: Page<T>,
  shown: (item: T) => S,
  keyOf: (shown: S) => string,
  brokeOff: string | null = null,
): Response {
  const all = items.map(shown);
  const last = all.at(-1);
  return answerItems(all, brokeOff ?? (more && last !== undefined ? keyOf(last) : null), keyOf);
}

/**
 * An object whose keys are the sender's to choose. zod's own record drops the key `__proto__` in silence: a condition of that name
 * would be lost, and what it narrows with it. The key passes zod under another name, and has its own again afterwards.
 */
export function recordOf<T extends z.ZodType>(value: T, keyMaxLength = 100) {
  const record = z.record(z.string().max(keyMaxLength), value);
  return z
    .preprocess((sent) => renamed(sent, '__proto__', DISGUISE), record)
    .transform((got) => renamed(got, DISGUISE, '__proto__'));
}

/** No name of anything: a client that sends it means `__proto__`. */
const DISGUISE = '\0__proto__';

function renamed<T>(value: T, from: string, to: string): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, from)) return value;
  const entries = Object.entries(value).map(([name, one]) => [name === from ? to : name, one]);
  return Object.fromEntries(entries) as T;
}

/** Repositories whose policies name somebody. */
export const grantsSchema = z.strictObject({
  repositories: z.array(z.string()).describe('The first 100, by name'),
  count: z.number().describe('How many there are'),
});

export const removedSchema = z.strictObject({ removedGrants: grantsSchema });

/** Of somebody who was taken out of an organization. */
export function answerRemoved(removed: Grants): Response {
  return removed.count === 0 ? answerNothing() : answer({ removedGrants: removed });
}

/** The value that a parameter holds as JSON; `null` if it is none, which no schema of ours takes. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
