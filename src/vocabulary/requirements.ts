/** What a route requires of its callers. */
import type { RepositoryAction } from './actions.ts';

/**
 * Requirements on the caller's account.
 * - `login`: any valid credential.
 * - `account`: a user's access key that is not narrowed, or the bootstrap administrator's password.
 * - `administrator`: as `account`, and the caller is an administrator.
 * - `owner`: as `account`, and the caller is an owner of the organization in the path, or an administrator.
 * - `owner or self`: as `owner`; or as `account`, and the caller is the member in the path.
 * - `member`: any credential that is not narrowed, of a member of the organization in the path or of an administrator.
 */
export type PersonalRequirement = 'login' | 'account' | 'administrator' | 'owner' | 'owner or self' | 'member';

/**
 * The actions that a request can require before its operation runs. `retag` is not among them, because only the batch of a push
 * finds out whether an existing tag moves.
 */
export type RequiredAction = Exclude<RepositoryAction, 'retag'>;

/** The actions that the scope of an access token can contain. */
export type ContentAction = 'pull' | 'push' | 'delete';

/**
 * What a route of the management API requires.
 * - An action is required on the repository in the path.
 * - `webhook` is the right to administer the repository, organization or registry whose events the webhook in the path
 *   receives.
 * - `trash` is the right to administer the name of the deleted repository in the path. The operation checks it.
 */
export type ManagementRequirement = RequiredAction | PersonalRequirement | 'webhook' | 'trash';

/** What a route of the distribution protocol (`/v2`) requires. */
export type ContentRequirement = ContentAction | 'login' | 'catalog';

/** What any route requires. `anyone` means that the request needs no credential. */
export type Requirement = 'anyone' | ContentRequirement | ManagementRequirement;
