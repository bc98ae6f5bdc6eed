/** Reads the settings of `npm start` from the environment variables, and the secret from the data folder. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { nearest } from '../contract/messages.ts';
import { checkSecrets, SECRETS, SETTINGS, START_SETTINGS, settings, startSettings } from '../env.ts';
import type { Setting } from '../setting.ts';
import { claimFolder } from './lock.ts';
import { StartError } from './start-error.ts';

export interface Options {
  host: string;
  port: number;
  dataDir: string;
  /** True if this start has created the secret. Then this is the first start with this data folder. */
  first: boolean;
  /** True if the environment has `REGISTRY_SECRET`. The secret in the data folder is then not read. */
  givenSecret: boolean;
  /** The settings of the Worker (`src/env.ts`) in the environment, as unparsed text. */
  variables: Record<string, string>;
  secrets: Record<string, string> & { REGISTRY_SECRET: string };
  /** Names in the environment that are probably misspelt settings. */
  misspelt: Misspelt[];
}

interface Misspelt {
  name: string;
  /** The setting that the user probably meant. */
  meant: string;
}

/** Reads the options. Creates the data folder and the secret if they are missing. @throws StartError if a setting is invalid */
export function readOptions(env: NodeJS.ProcessEnv): Options {
  return inWords(() => {
    const { port, host, dataDir: folder } = startSettings(env);
    const variables = givenOf(env, SETTINGS);
    settings(variables);
    checkSecrets(env);
    const dataDir = resolve(folder);
    claimFolder(dataDir);
    const { secret, first } = env.REGISTRY_SECRET ? { secret: env.REGISTRY_SECRET, first: false } : makeSecret(dataDir);
    const secrets = { ...givenOf(env, SECRETS), REGISTRY_SECRET: secret };
    const given = { givenSecret: Boolean(env.REGISTRY_SECRET), variables, secrets };
    return { host, port, dataDir, first, ...given, misspelt: misspeltIn(env) };
  });
}

/** Reads the secrets of a registry that was started before. Creates nothing. @throws StartError if there is no such registry */
export function readSecrets(env: NodeJS.ProcessEnv): Options['secrets'] {
  return inWords(() => {
    const dataDir = resolve(startSettings(env).dataDir);
    settings(givenOf(env, SETTINGS));
    checkSecrets(env);
    return { ...givenOf(env, SECRETS), REGISTRY_SECRET: env.REGISTRY_SECRET || savedSecret(dataDir) };
  });
}

/** Runs `read`. Turns an error about a setting into a `StartError`, whose message is shown in the terminal. */
function inWords<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`${(error as Error).message}.`);
  }
}

/** Finds names in the environment that differ from a setting in a few letters. All other names belong to other programs. */
function misspeltIn(env: NodeJS.ProcessEnv): Misspelt[] {
  const tables: Record<string, Setting> = { ...START_SETTINGS, ...SETTINGS, ...SECRETS };
  const names = Object.keys(tables).filter((name) => tables[name]?.where !== 'tests');
  const others = Object.keys(env).filter((name) => /^[A-Z][A-Z_]+$/.test(name) && !Object.hasOwn(tables, name));
  return others.flatMap((name) => {
    const meant = nearest(name, names, { parts: false });
    return meant === null ? [] : [{ name, meant }];
  });
}

/** Returns the settings of a table that the environment has, without those that only tests may change. */
function givenOf(env: NodeJS.ProcessEnv, table: Record<string, Setting>): Record<string, string> {
  const names = Object.keys(table).filter((name) => table[name]?.where !== 'tests');
  return Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
}

function secretFile(dataDir: string): string {
  return join(dataDir, 'secret');
}

function savedSecret(dataDir: string): string {
  try {
    return readFileSync(secretFile(dataDir), 'utf8').trim();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw new StartError(`DATA_DIR ${dataDir} cannot be used: ${message}`);
    throw new StartError(
      `There is no registry in ${dataDir}, and nothing was created. Set DATA_DIR to the folder that the registry was ` +
        `started with (it prints it as "Data"), or start one with npm start.`,
    );
  }
}

/** Reads the secret from which all keys are derived, or creates it at the first start. The secret is never printed. */
function makeSecret(dataDir: string): { secret: string; first: boolean } {
  const file = secretFile(dataDir);
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
