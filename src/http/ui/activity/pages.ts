/** The pages of the audit log. */
import { activityPages } from './activity.tsx';

export const activityConsolePages = [activityPages];
