/** The background jobs that share the daily budget (`src/background/budget.ts`). */
export const JOBS = ['deliveries', 'expiry', 'collector', 'scrub', 'lifecycle'] as const;
export type Job = (typeof JOBS)[number];
