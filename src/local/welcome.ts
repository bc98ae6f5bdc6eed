/**
 * The text that `npm start` prints when the registry is ready: its addresses, the administrator's login, and the commands of a
 * first push.
 */
import { networkInterfaces } from 'node:os';
import { resolve } from 'node:path';
import { administratorPassword } from '../auth/secrets.ts';
import { startSettings } from '../env.ts';
import type { Options } from './options.ts';
import { IS_POWERSHELL, quoted } from './shell.ts';

/** Returns the host and port at which this machine can connect to the registry. */
export function addressOf({ host, port }: Pick<Options, 'host' | 'port'>): string {
  return hostAndPort(listensEverywhere(host) ? '127.0.0.1' : host, port);
}

function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function listensEverywhere(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

export async function welcome(options: Options): Promise<string> {
  const registry = addressOf(options);
  const { secrets } = options;
  const ask = passwordCommand(options);
  const asked = options.givenSecret ? `${ask}, with the same REGISTRY_SECRET` : ask;
  const derived = options.first ? `${await administratorPassword(secrets)}   (again: ${asked})` : `(${asked})`;
  const login = secrets.ADMIN_PASSWORD ? 'echo "$ADMIN_PASSWORD"' : ask;
  return `
Berth is ready at http://${registry}

  User       admin
  Password   ${secrets.ADMIN_PASSWORD ? 'the one in ADMIN_PASSWORD' : derived}
  Data       ${options.dataDir}
  Console    http://${registry}/
  API        http://${registry}/api
${exposure(options)}${spelling(options)}
A first push, in another terminal in this folder:

  ${login} | docker login -u admin --password-stdin ${registry}
  docker pull hello-world
  docker tag hello-world ${registry}/hello-world
  docker push ${registry}/hello-world

Ctrl-C ends it.`;
}

/** Returns the command that prints the password. It sets `DATA_DIR` if the command needs that in another terminal. */
function passwordCommand({ dataDir }: Options): string {
  const command = 'npm run --silent password';
  if (dataDir === resolve(startSettings({}).dataDir)) return command;
  return IS_POWERSHELL ? `$env:DATA_DIR=${quoted(dataDir)}; ${command}` : `DATA_DIR=${quoted(dataDir)} ${command}`;
}

/** Returns a warning about settings that are probably misspelt, because an unknown setting has no effect. */
function spelling({ misspelt }: Options): string {
  const lines = misspelt.map(({ name, meant }) => `\nWarning: there is no setting ${name}: did you mean ${meant}?\n`);
  return lines.join('');
}

/** Returns a warning that other machines can connect without TLS, or the empty string if only this machine can connect. */
function exposure({ host, port }: Options): string {
  if (isLoopback(host)) return '';
  const reachable = listensEverywhere(host) ? ownAddresses(host) : [host];
  const names = reachable.map((address) => hostAndPort(address, port));
  const [first = hostAndPort('ADDRESS', port)] = names;
  return `
Warning: other machines can connect, without TLS. Passwords and images cross the network in plain text. Use this in a network
that you trust, or put a proxy with a certificate in front of the registry (docs/laptop.md).

  Reachable  ${names.map((name) => `http://${name}`).join(' ') || 'at no address of this machine now'}
  docker     needs this in its daemon.json: { "insecure-registries": ["${first}"] }
`;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** Returns the addresses of this machine to which other machines can connect: IPv4 for `0.0.0.0`, IPv4 and IPv6 for `::`. */
function ownAddresses(host: string): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all
    .filter(({ internal, family, scopeid }) => !internal && !scopeid && (family === 'IPv4' || host === '::'))
    .map(({ address }) => address);
}
