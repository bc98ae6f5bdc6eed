/** `npm run password`: the administrator's password, to be piped into `docker login --password-stdin`. */
import { administratorPassword } from '../auth/secrets.ts';
import { readOptions } from './options.ts';

const { secret, adminPassword } = readOptions(process.env);
console.log(
  await administratorPassword({ REGISTRY_SECRET: secret, ...(adminPassword ? { ADMIN_PASSWORD: adminPassword } : {}) }),
);
