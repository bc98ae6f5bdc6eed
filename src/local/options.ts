/** Settings of `npm start`, read from the environment once, and the files that outlive a start. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { settings } from '../env.ts';

export interface Options {
  host: string;
  port: number;
  dataDir: string;
  secret: string;
  /** The first start on this data: it made the secret. */
  first: boolean;
  adminPassword: string | undefined;
  /** Settings of the Worker itself (`src/env.ts`), as they were given. */
  variables: Record<string, string>;
}

/** A mistake of whoever started it: shown as it is, without a stack. */
export class StartError extends Error {}

/** @throws StartError */
export function readOptions(env: NodeJS.ProcessEnv): Options {
  const port = Number(env.PORT || 8787);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new StartError(`PORT is "${env.PORT}": it must be 1 to 65535.`);
  const variables = readVariables(env);
  const dataDir = resolve(env.DATA_DIR || 'data');
  const { secret, first } = readSecret(dataDir, env.REGISTRY_SECRET);
  return {
    host: env.HOST || '127.0.0.1',
    port,
    dataDir,
    secret,
    first,
    adminPassword: env.ADMIN_PASSWORD || undefined,
    variables,
  };
}

const VARIABLES = [
  'VERIFY',
  'CREATE_ON_PUSH',
  'KEY_DEFAULT_DAYS',
  'KEY_MAX_DAYS',
  'INSECURE_ISSUERS',
  'INSECURE_WEBHOOKS',
  'EVENT_DAYS',
  'DELIVERY_DAYS',
  'PUBLIC_URL',
] as const;

/** Checked by whoever will read them, before anything starts. */
function readVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const variables = Object.fromEntries(VARIABLES.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
  try {
    settings(variables);
  } catch (error) {
    throw new StartError(`${(error as Error).message}.`);
  }
  return variables;
}

/** Everything else is derived from it, so it is made once and never printed. */
function readSecret(dataDir: string, given: string | undefined): { secret: string; first: boolean } {
  if (given) return { secret: given, first: false };
  const file = join(dataDir, 'secret');
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    try {
      writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { flag: 'wx', mode: 0o600 });
      return { secret: readFileSync(file, 'utf8').trim(), first: true };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    return { secret: readFileSync(file, 'utf8').trim(), first: false };
  } catch (error) {
    throw new StartError(`DATA_DIR ${dataDir} cannot be used: ${(error as Error).message}`);
  }
}
