/**
 * Errors of the ECR API. They have the status 400, or 500 if a repetition can help, and the body `{"__type": "…Exception",
 * "message": "…"}` (AWS JSON 1.1). Programs compare the type, and some also the message.
 */
import type { Reason } from '../../vocabulary/reasons.ts';
import type { Refusal } from '../../vocabulary/refusal.ts';

/** An error with a type of the ECR API. `fields` are further fields of the body. */
export class EcrError extends Error {
  readonly type: string;
  readonly fields: Readonly<Record<string, unknown>>;

  /** @param type the type without the ending `Exception` */
  constructor(type: string, message: string, fields: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.type = `${type}Exception`;
    this.fields = fields;
  }
}

/** The error type for each reason of a refusal, without the ending `Exception`. */
export const TYPES: Record<Reason, string> = {
  'request-invalid': 'InvalidParameter',
  'parameter-invalid': 'InvalidParameter',
  'body-incomplete': 'Serialization',
  'body-too-large': 'InvalidParameter',
  'address-unknown': 'UnknownOperation',
  'method-not-allowed': 'UnknownOperation',
  'too-many-tags': 'InvalidParameter',
  'too-much-work': 'InvalidParameter',
  'webhook-loop': 'AccessDenied',
  'repository-name-invalid': 'InvalidParameter',
  'tag-invalid': 'InvalidParameter',
  'digest-invalid': 'InvalidParameter',

  unauthenticated: 'UnrecognizedClient',
  forbidden: 'AccessDenied',
  'not-found': 'RepositoryNotFound',

  'repository-unknown': 'RepositoryNotFound',
  'manifest-unknown': 'ImageNotFound',
  'blob-unknown': 'LayerInaccessible',
  'upload-unknown': 'UploadNotFound',
  'manifest-invalid': 'InvalidParameter',
  'references-unknown': 'LayersNotFound',
  'digest-mismatch': 'ImageDigestDoesNotMatch',
  'length-mismatch': 'InvalidLayerPart',
  'blob-too-large': 'InvalidLayerPart',
  'chunk-out-of-order': 'InvalidLayerPart',
  'range-not-satisfiable': 'InvalidParameter',
  'content-referenced': 'InvalidParameter',
  'deletion-disabled': 'AccessDenied',
  'tag-immutable': 'ImageTagAlreadyExists',
  // Clients repeat a request after this error a few times. The API has no other type for a limit.
  'quota-exceeded': 'LimitExceeded',
  'condition-failed': 'InvalidParameter',
  'content-gone': 'ImageNotFound',

  'version-mismatch': 'InvalidParameter',
  'name-taken': 'RepositoryAlreadyExists',
  'limit-reached': 'InvalidParameter',
  'last-owner': 'InvalidParameter',
  'last-administrator': 'InvalidParameter',
  disabled: 'AccessDenied',
  'not-empty': 'RepositoryNotEmpty',
  conflict: 'InvalidParameter',
  overtaken: 'Server',

  'rate-limited': 'Throttling',
  'daily-limit': 'Throttling',
  'memory-full': 'Throttling',
  'database-busy': 'Server',
  'connection-lost': 'Server',
  'issuer-unreachable': 'Server',
  'not-set-up': 'Server',
  'storage-unavailable': 'Server',
};

/** The values that are inserted into the ECR API's own messages. */
export interface Names {
  /** The registry's id of 12 digits. */
  registryId: string;
  /** The repository in the request. */
  repository?: string | undefined;
  /** The name of the operation, for example `CreateRepository`. */
  operation: string;
  /** The ARN of the caller. */
  caller: string;
}

/** Returns the words with which messages of ECR name a repository. */
export function repositoryText(registryId: string, repository: string): string {
  return `the repository with name '${repository}' in the registry with id '${registryId}'`;
}

export function repositoryNotFound(registryId: string, repository: string): EcrError {
  const text = `The repository with name '${repository}' does not exist in the registry with id '${registryId}'`;
  return new EcrError('RepositoryNotFound', text);
}

/** Returns the error for a refusal. Programs match some of these messages, so the messages are those of ECR. */
export function ecrErrorOf({ reason, message }: Refusal, { registryId, repository, operation, caller }: Names): EcrError {
  const type = TYPES[reason];
  const named = `The repository with name '${repository}'`;
  if (type === 'RepositoryNotFound' && repository !== undefined) return repositoryNotFound(registryId, repository);
  if (type === 'RepositoryAlreadyExists')
    return new EcrError(type, `${named} already exists in the registry with id '${registryId}'`);
  if (type === 'RepositoryNotEmpty') {
    const text = 'cannot be deleted because it still contains images';
    return new EcrError(type, `${named} in registry with id '${registryId}' ${text}`);
  }
  if (reason === 'forbidden') {
    const on = repository === undefined ? '' : ` on resource: ${repository}`;
    return new EcrError(type, `User: ${caller} is not authorized to perform: ecr:${operation}${on} (${message})`);
  }
  if (reason === 'unauthenticated') return new EcrError(type, 'The security token included in the request is invalid.');
  return new EcrError(type, message);
}

/** Returns the status of an error. Clients repeat a request after a 500. */
export function statusOf({ type }: EcrError): 400 | 500 {
  return type === 'ServerException' ? 500 : 400;
}
