/** Fields that schemas of several subjects share. */
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

/** RFC 3339, with its zone. */
export const instant = z.iso.datetime({ offset: true });

/** Repositories whose policies name a user, team or robot. */
export const grantsSchema = z.strictObject({
  repositories: z.array(z.string()).describe('The first 100, by name'),
  count: z.number().describe('How many there are'),
});

export const removedSchema = z.strictObject({ removedGrants: grantsSchema });

/**
 * An object whose keys the sender chooses. zod's own record silently drops the key `__proto__`, and with it a condition of that
 * name and what it restricts. So the key passes zod under another name, and gets its own name back afterwards.
 */
export function recordOf<T extends z.ZodType>(value: T, keyMaxLength = 100) {
  const record = z.record(z.string().max(keyMaxLength), value);
  return z
    .preprocess((sent) => renamed(sent, '__proto__', DISGUISE), record)
    .transform((got) => renamed(got, DISGUISE, '__proto__'));
}

/** Nothing has this name: a client that sends it means `__proto__`. */
const DISGUISE = '\0__proto__';

function renamed<T>(value: T, from: string, to: string): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, from)) return value;
  const entries = Object.entries(value).map(([name, one]) => [name === from ? to : name, one]);
  return Object.fromEntries(entries) as T;
}
