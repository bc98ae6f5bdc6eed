/** Schemas of the answers that belong to `../usage.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { bytes, maxBytes, warnPercent } from '../usage.ts';

const count = z.int().min(0);

const stored = z.strictObject({
  bytes: bytes.describe(
    'Layers, configs and manifests, the trash included. A blob counts once, however many repositories hold it',
  ),
  blobs: count.describe('Layers and configs'),
  staged: z
    .optional(bytes)
    .describe('Bytes received by unfinished uploads. They count against the limit. Absent if there are none'),
  maxBytes,
  warnPercent,
  percent: z.nullable(z.number()).describe('Percent of the limit in use; null: no limit'),
  countedAt: z
    .nullable(z.iso.datetime())
    .describe(
      'When everything was last counted anew; null: not yet. Later pushes are included at once. What was deleted since is ' +
        'subtracted at once if there is a limit, and otherwise by the next count',
    ),
});

const notCounted = z.nullable(count);

/** The usage of all organizations and users together. */
export const totalUsage = z
  .nullable(stored.pick({ bytes: true, blobs: true }).extend({ staged: bytes }))
  .describe(
    'The sum of all organizations and users. What two of them hold counts for each. `null` on later pages, and if there are ' +
      'more than 10,000 of them',
  );

export const namespaceUsage = stored.extend({
  namespace: z.string().describe('An organization or user: `acme` of `acme/api`. Empty: repositories without one'),
});

const holdings = {
  repositories: notCounted.describe('`null`: more than 2,000'),
  tags: notCounted.describe(
    'Without tags that belong to an image by their name: signatures, attestations, SBOMs and lists of ' +
      'referrers. In a registry with more than 5,000 layers they count; `null`: there are more than 2,000 repositories',
  ),
  manifests: notCounted.describe('All manifests: images, the parts of indexes, signatures and other referrers'),
  trash: z
    .strictObject({ bytes: z.nullable(bytes), repositories: notCounted, tags: notCounted, manifests: notCounted })
    .describe(
      'What can be restored from the trash, and the bytes that are freed when it is emptied. `null`: more than can be ' +
        'counted at once. The bytes are counted in registries of up to 5,000 layers',
    ),
};

export const organizationUsage = stored.extend({ organization: z.string(), ...holdings });

export const userUsage = stored.extend({ user: z.string(), ...holdings });

export const quota = z.strictObject({ maxBytes, warnPercent });

export const pulls = z.strictObject({
  total: count,
  lastPulledAt: z.nullable(z.iso.date()).describe('Day in UTC; null: never'),
  lastCheckedAt: z
    .optional(z.iso.date())
    .describe(
      'Last day on which a client checked the manifest (HEAD) without pulling it, as nodes with `imagePullPolicy: ' +
        'Always` do. A check is not a pull, but counts as a use for lifecycle rules. Absent: never',
    ),
  days: z.array(z.strictObject({ day: z.iso.date(), pulls: count })).describe('Days with pulls, newest first, up to 366'),
});
