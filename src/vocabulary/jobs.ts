/** Background jobs that share the day's budget. */
export const JOBS = ['deliveries', 'expiry', 'collector', 'scrub', 'lifecycle'] as const;
export type Job = (typeof JOBS)[number];
