/** The pages of usage. */
import { organizationUsagePages } from './organization.tsx';
import { registryUsagePages } from './registry.tsx';

export const usagePages = [registryUsagePages, organizationUsagePages];
