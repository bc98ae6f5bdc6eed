/** The registry with delayed and counted calls to D1 and R2. */
import worker from '../../src/index.ts';
import { delayed } from './delayed.ts';

export default delayed(worker, { d1: 'DB', r2: 'BLOBS' });
