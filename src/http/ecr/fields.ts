/**
 * Fields that inputs of the ECR API share. The limits are those of the API's model in botocore
 * (`data/ecr/2015-09-21/service-2.json`). A test compares the model with these schemas.
 */
import * as z from 'zod';
import { MUTABILITIES } from '../../vocabulary/mutability.ts';

/** Returns the schema of a text that matches the whole pattern. The patterns of the API's model have no anchors. */
export function matching(pattern: string, { min, max }: { min?: number; max?: number } = {}) {
  let text = z.string();
  if (min !== undefined) text = text.min(min);
  if (max !== undefined) text = text.max(max);
  return text.regex(new RegExp(`^(?:${pattern})$`));
}

export const registryId = matching('[0-9]{12}');
export const repositoryName = matching('[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*', {
  min: 2,
  max: 256,
});
export const maxResults = z.int().min(1).max(1000);
export const nextToken = z.string().regex(/^\S+$/);

/** The members of every input that names one repository. */
export const REPOSITORY = { registryId: z.optional(registryId), repositoryName };

/** The members of every input that asks for a list. */
export const PAGE = { nextToken: z.optional(nextToken), maxResults: z.optional(maxResults) };

/** A label, which AWS calls a tag of a resource. The operation checks its length. */
export const label = z.object({ Key: z.string(), Value: z.string() });

export const imageTagMutability = z.enum(MUTABILITIES, {
  // The order of the message, which programs match.
  error: 'Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]',
});

export const exclusionFilters = z
  .array(
    z.object({
      filterType: z.enum(['WILDCARD']),
      filter: matching('^[0-9a-zA-Z._*-]{1,128}$', { min: 1, max: 128 }),
    }),
  )
  .min(1)
  .max(5);

export const imageScanningConfiguration = z.object({ scanOnPush: z.optional(z.boolean()) });
