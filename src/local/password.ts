/** `npm run password`: the administrator's password, to be piped into `docker login --password-stdin`. */
import { administratorPassword } from '../auth/secrets.ts';
import { readOptions } from './options.ts';

console.log(await administratorPassword(readOptions(process.env).secrets));
