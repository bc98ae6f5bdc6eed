/** The pages of activity. */
import { activityPages } from './activity.tsx';

export const activityConsolePages = [activityPages];
