/** The ECR operations that this registry refuses, because it has nothing like what they change. */
import * as z from 'zod';
import { EcrError } from './errors.ts';
import { type EcrOperation, ecrOperation } from './operation.ts';

const NAMES = [
  'StartImageScan',
  'PutRegistryPolicy',
  'PutRegistryScanningConfiguration',
  'PutSigningConfiguration',
  'CreatePullThroughCacheRule',
  'UpdatePullThroughCacheRule',
  'ValidatePullThroughCacheRule',
  'CreateRepositoryCreationTemplate',
  'UpdateRepositoryCreationTemplate',
  'GetAccountSetting',
  'PutAccountSetting',
  'RegisterPullTimeUpdateExclusion',
  'DeregisterPullTimeUpdateExclusion',
  'StartReplicationBackfill',
  'StopReplicationBackfill',
  'DescribeReplicationBackfillResults',
];

/** The status is 400, because clients would repeat the request after a 500. */
function unsupported(name: string): EcrOperation {
  return ecrOperation({
    input: z.looseObject({}),
    cost: 'read',
    answer() {
      throw new EcrError('UnsupportedOperation', `this registry does not support ${name}: nothing was changed`);
    },
  });
}

export const UNSUPPORTED: Readonly<Record<string, EcrOperation>> = Object.fromEntries(
  NAMES.map((name) => [name, unsupported(name)]),
);
