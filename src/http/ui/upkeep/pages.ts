/** The pages of the registry's maintenance. */
import { healthPages } from './upkeep.tsx';

export const upkeepPages = [healthPages];
