/** The pages of lifecycle rules. */
import { lifecyclePages } from './lifecycle.tsx';

export const lifecycleConsolePages = [lifecyclePages];
