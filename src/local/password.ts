/** `npm run password`: prints the administrator's password, for `docker login --password-stdin`. */
import { administratorPassword } from '../auth/secrets.ts';
import { readOptions } from './options.ts';
import { StartError } from './start-error.ts';

try {
  console.log(await administratorPassword(readOptions(process.env).secrets));
} catch (error) {
  console.error(error instanceof StartError ? error.message : error);
  process.exit(1);
}
