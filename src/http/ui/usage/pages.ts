/** The pages of usage. */
import { organizationUsagePages } from './organization.tsx';
import { registryUsagePages } from './registry.tsx';
import { userUsagePages } from './user.tsx';

export const usagePages = [registryUsagePages, organizationUsagePages, userUsagePages];
