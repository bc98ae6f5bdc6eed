/**
 * How the actions of ECR policies and those of statements correspond (Service Authorization Reference, "Actions, resources, and
 * condition keys for Amazon Elastic Container Registry"). Names are without the prefix `ecr:`.
 */
import type { RepositoryAction } from './actions.ts';

const WRITES = ['PutImage', 'InitiateLayerUpload', 'UploadLayerPart', 'CompleteLayerUpload'];

/**
 * The ECR actions that together are one action here. A statement that allows must name all of them, and one that denies must
 * name at least one, so that neither notation allows more than the other.
 */
export const ECR_ACTIONS: Record<RepositoryAction, readonly string[]> = {
  pull: ['BatchGetImage', 'GetDownloadUrlForLayer'],
  push: WRITES,
  // A push to ECR also moves an existing tag.
  retag: WRITES,
  delete: ['BatchDeleteImage'],
  admin: [
    'SetRepositoryPolicy',
    'DeleteRepositoryPolicy',
    'DeleteRepository',
    'PutLifecyclePolicy',
    'DeleteLifecyclePolicy',
    'StartLifecyclePolicyPreview',
    'PutImageTagMutability',
    'PutImageScanningConfiguration',
    'TagResource',
    'UntagResource',
  ],
  create: ['CreateRepository'],
};

/** Further ECR actions that somebody may do who may do an action here. They cannot be allowed or denied by themselves. */
export const IMPLIED_ACTIONS: Partial<Record<RepositoryAction, readonly string[]>> = {
  pull: [
    'BatchCheckLayerAvailability',
    'DescribeImages',
    'ListImages',
    'ListImageReferrers',
    'DescribeRepositories',
    'ListTagsForResource',
    'GetLifecyclePolicy',
    'DescribeImageScanFindings',
    'DescribeImageReplicationStatus',
    'DescribeImageSigningStatus',
    'BatchGetRepositoryScanningConfiguration',
  ],
  push: ['BatchCheckLayerAvailability'],
  admin: ['GetRepositoryPolicy', 'GetLifecyclePolicyPreview', 'UpdateImageStorageClass'],
};
