/** The operations of the ECR API, by name. Each imported group has the operations on one subject. */
import { contentOperations } from './image-contents.ts';
import { imageOperations } from './images.ts';
import { layerOperations } from './layers.ts';
import { lifecycleOperations } from './lifecycle.ts';
import type { EcrOperation } from './operation.ts';
import { policyOperations } from './policies.ts';
import { registryOperations } from './registry.ts';
import { repositoryOperations } from './repositories.ts';
import { UNSUPPORTED } from './unsupported.ts';

export const OPERATIONS: Readonly<Record<string, EcrOperation>> = {
  ...registryOperations,
  ...repositoryOperations,
  ...lifecycleOperations,
  ...imageOperations,
  ...contentOperations,
  ...layerOperations,
  ...policyOperations,
  ...UNSUPPORTED,
};
