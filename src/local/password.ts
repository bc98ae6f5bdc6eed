/** `npm run password`: prints the administrator's password, for `docker login --password-stdin`. It creates nothing. */
import { administratorPassword } from '../auth/secrets.ts';
import { readSecrets } from './options.ts';
import { StartError } from './start-error.ts';

try {
  console.log(await administratorPassword(readSecrets(process.env)));
} catch (error) {
  console.error(error instanceof StartError ? error.message : error);
  process.exit(1);
}
