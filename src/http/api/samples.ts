/** The values in the examples of the documentation. The example registry is `registry.example.com`. */

export const SAMPLE_ORIGIN = 'https://registry.example.com';
export const SAMPLE_DIGEST = 'sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270';
export const SAMPLE_KEY = 'BRTHEXAMPLEQ4M2LD5RT';
export const SAMPLE_TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyOmFsaWNlIn0.c2lnbmF0dXJl';
export const SAMPLE_TIME = '2026-05-04T00:00:00Z';
export const SAMPLE_WEBHOOK = 'wh_exampleq4m2ld5rt7bvk';
export const SAMPLE_DELIVERY = `${SAMPLE_WEBHOOK}_1042`;
export const SAMPLE_HOOK = 'https://hooks.example.com/berth';

/** The description and an example of each path parameter. */
export const PATH_PARAMETERS: Record<string, { description: string; example: string }> = {
  name: { description: 'The name of the repository. Send its slashes as they are or as `%2F`', example: 'acme/app' },
  organization: { description: 'The name of the organization', example: 'acme' },
  user: { description: 'The name of the user', example: 'alice' },
  team: { description: 'The name of the team within its organization', example: 'dev' },
  robot: { description: 'The name of the robot within its organization', example: 'ci' },
  rule: { description: 'The name of the trust rule', example: 'deploy' },
  comment: { description: 'The number of the comment', example: '1' },
  tag: { description: 'The tag', example: 'v1' },
  digest: { description: 'The digest of the manifest', example: SAMPLE_DIGEST },
  entry: { description: '`entry` of a deleted repository in the trash', example: '7' },
  key: { description: 'The id of the access key', example: SAMPLE_KEY },
  webhook: { description: 'The id of the webhook', example: SAMPLE_WEBHOOK },
  delivery: {
    description: 'The id of the delivery. Its receiver gets it as the header `webhook-id`',
    example: SAMPLE_DELIVERY,
  },
};
