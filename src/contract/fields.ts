/** Fields that several schemas of the management API share. */
import * as z from 'zod';

const DESCRIPTION_MAX = 200;

export const description = z
  .optional(
    z
      .string()
      .trim()
      .max(DESCRIPTION_MAX)
      .refine((text) => !/\p{Cc}/u.test(text), 'must be one line of text'),
  )
  .describe('Unchanged if left out');

/** A time in the format of RFC 3339, with a time zone. */
export const instant = z.iso.datetime({ offset: true });

/** Repositories whose policies name a user, team or robot. The first names, and the number of all. */
export const grantsSchema = z.strictObject({
  repositories: z.array(z.string()).describe('Names of the repositories, the first 100'),
  count: z.number().describe('The number of repositories'),
});

export const removedSchema = z.strictObject({ removedGrants: grantsSchema });

/**
 * Returns the schema of an object whose keys the sender chooses. zod's `record` silently drops the key `__proto__`. A dropped
 * condition would no longer restrict anything. So the key is renamed while zod parses the object.
 */
export function recordOf<T extends z.ZodType>(value: T, keyMaxLength = 100) {
  const record = z.record(z.string().max(keyMaxLength), value);
  return z
    .preprocess((sent) => renamed(sent, '__proto__', DISGUISE), record)
    .transform((got) => renamed(got, DISGUISE, '__proto__'));
}

/** The name that replaces `__proto__` while zod parses an object. No claim has this name. */
const DISGUISE = '\0__proto__';

function renamed<T>(value: T, from: string, to: string): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, from)) return value;
  const entries = Object.entries(value).map(([name, one]) => [name === from ? to : name, one]);
  return Object.fromEntries(entries) as T;
}
