/** The pages of upkeep. */
import { healthPages } from './upkeep.tsx';

export const upkeepPages = [healthPages];
