/** The requirements of requests on their callers. */
import type { RepositoryAction } from './actions.ts';

/**
 * `login`: any valid credential. `account`: a user's access key that is not narrowed, not a login password. `administrator` and
 * `owner` (of the organization in the path) need the same, and the role. `owner or self`: the role, or to be the user in the
 * path. `member`: any member of the organization.
 */
export type PersonalRequirement = 'login' | 'account' | 'administrator' | 'owner' | 'owner or self' | 'member';

/** Actions on a repository. Whether a push moves a tag (`retag`) is known only in its batch, so no request requires that. */
export type RequiredAction = Exclude<RepositoryAction, 'retag'>;

/** Actions that an access token can name. */
export type ContentAction = 'pull' | 'push' | 'delete';

/**
 * Requirements of the management API. An action is one on the repository in the path. `webhook`: the right to administer what
 * the webhook in the path listens to. `trash`: the right to administer the name of the deleted repository in the path.
 */
export type ManagementRequirement = RequiredAction | PersonalRequirement | 'webhook' | 'trash';

/** Requirements of the distribution protocol. */
export type ContentRequirement = ContentAction | 'login' | 'catalog';

/** `anyone`: no credentials. */
export type Requirement = 'anyone' | ContentRequirement | ManagementRequirement;
