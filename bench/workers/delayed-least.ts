/** The Worker with the fewest calls, with delayed and counted calls to D1 and R2. */
import { delayed } from './delayed.ts';
import worker from './least.ts';

export default delayed(worker, { d1: 'DB', r2: 'BLOBS' });
