/** Reads the settings of `npm start` from the environment, and the secret from the data folder. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { checkSecrets, SECRETS, SETTINGS, type Setting, settings, startSettings } from '../env.ts';
import { claimFolder } from './folder.ts';
import { StartError } from './start-error.ts';

export interface Options {
  host: string;
  port: number;
  dataDir: string;
  /** True for the first start on this data, which made the secret. */
  first: boolean;
  /** Settings of the Worker (`src/env.ts`), as they were given. */
  variables: Record<string, string>;
  secrets: Record<string, string> & { REGISTRY_SECRET: string };
}

/** @throws StartError that names the setting that is wrong */
export function readOptions(env: NodeJS.ProcessEnv): Options {
  try {
    const { port, host, dataDir: folder } = startSettings(env);
    const variables = givenOf(env, SETTINGS);
    settings(variables);
    checkSecrets(env);
    const dataDir = resolve(folder);
    claimFolder(dataDir);
    const { secret, first } = readSecret(dataDir, env.REGISTRY_SECRET);
    const secrets = { ...givenOf(env, SECRETS), REGISTRY_SECRET: secret };
    return { host, port, dataDir, first, variables, secrets };
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`${(error as Error).message}.`);
  }
}

/** The given values of these settings, without those that only tests may change. */
function givenOf(env: NodeJS.ProcessEnv, table: Record<string, Setting>): Record<string, string> {
  const names = Object.keys(table).filter((name) => table[name]?.where !== 'tests');
  return Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
}

/** The secret that every other is derived from. It is made once and never printed. */
function readSecret(dataDir: string, given: string | undefined): { secret: string; first: boolean } {
  if (given) return { secret: given, first: false };
  const file = join(dataDir, 'secret');
  try {
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
