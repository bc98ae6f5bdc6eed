/** Starts a docker engine for several people. Each person has a folder for credentials, as on a machine of their own. */
import { execFile, spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** The credentials of a registry in docker's config.json. */
interface Stored {
  identitytoken?: string;
  auth?: string;
}

/** The docker client of one person. The `name` of an image has a repository and a tag, but no registry. */
export interface Desk {
  login(username: string, password: string): Promise<Ran>;
  logout(): Promise<Ran>;
  /** @param image the tag of one of the images that the engine has: one, two, three */
  push(image: string, name: string): Promise<Ran>;
  pull(name: string): Promise<Ran>;
  /** Runs a script in a shell in which `docker` and `$REGISTRY` are set. */
  shell(script: string, env?: Record<string, string>): Promise<Ran>;
  /** The credentials that `docker login` has stored. */
  kept(): Promise<Stored>;
  /** Stores credentials as `docker login` does. */
  keep(credentials: Stored): Promise<void>;
}

export interface Engine {
  /** The environment variables with which a program reaches the engine. */
  env: Record<string, string>;
  desk(owner: string): Desk;
  /** Removes all images and loads the first ones again, so that a pull has something to fetch. */
  forgetImages(): Promise<void>;
  skopeo(...args: string[]): Promise<Ran>;
  /** The folder of the images as an OCI layout, in the form `oci:FOLDER`. */
  layout: string;
  stop(): Promise<void>;
}

const SCRIPT = fileURLToPath(new URL('../people-engine.sh', import.meta.url));
/** The search path, with Debian's own docker first. */
const PATH = `/usr/sbin:/usr/bin:${process.env.PATH}`;
const COMMAND_TIMEOUT_MS = 60_000;

/** @param flags additional flags of the engine @throws Error if docker is not available or does not start */
export async function startEngine(registry: string, flags: string[] = []): Promise<Engine> {
  const folder = await mkdtemp(join(tmpdir(), 'csp-'));
  const script = spawn('bash', [SCRIPT, registry, folder, ...flags], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => script.once('close', () => resolve()));
  const said = await firstLine(script.stdout);
  const stop = async () => {
    script.stdin.end();
    await ended;
    // Does nothing if the engine has removed its folder by itself.
    await rm(folder, { recursive: true, force: true });
  };
  if (said !== 'ready') {
    await stop();
    throw new Error(`there is no docker: ${said}`);
  }
  const reach = { DOCKER_HOST: `unix://${folder}/d.sock`, PATH };
  const run = runner({ ...reach, HOME: folder, REGISTRY: registry });
  return {
    env: reach,
    desk: (owner) => deskIn(join(folder, owner), registry, run),
    async forgetImages() {
      await run('docker', ['image', 'prune', '--all', '--force']);
      await run('docker', ['load', '--input', join(folder, 'img.tar')]);
    },
    skopeo: (...args) => run('skopeo', args),
    layout: `oci:${join(folder, 'img')}`,
    stop,
  };
}

function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    stream.on('data', (data) => {
      text += data;
      if (text.includes('\n')) resolve(text.trim());
    });
    stream.once('end', () => resolve(text.trim()));
  });
}

type Run = (program: string, args: string[], more?: { env?: Record<string, string>; input?: string }) => Promise<Ran>;

function runner(common: Record<string, string>): Run {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$|^DOCKER_/i.test(name)));
  return (program, args, { env = {}, input = '' } = {}) =>
    new Promise((resolve, reject) => {
      const options = { env: { ...inherited, PATH, ...common, ...env }, timeout: COMMAND_TIMEOUT_MS };
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        if (error && typeof error.code === 'string') return reject(error);
        const ran = { code: child.exitCode ?? 1, stdout, stderr: stderr.replace(NOISE, '').trim() };
        log(`$ ${[program, ...args].join(' ')}\n${ran.stdout}${ran.stderr}\n= ${ran.code}\n`);
        resolve(ran);
      });
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });
}

/** Output that `docker login` always has, since credentials are stored in a file, and skopeo's output. */
const NOISE = /WARNING! Your password will be stored unencrypted[\s\S]*?credentials-store\n|^time="\S+" /gm;

/** Appends the commands and the output of clients to the file that PEOPLE_LOG names, if it is set. */
function log(text: string): void {
  if (process.env.PEOPLE_LOG) appendFileSync(process.env.PEOPLE_LOG, text.replaceAll(/(creds=\w+:)\S+/g, '$1***'));
}

function deskIn(folder: string, registry: string, run: Run): Desk {
  const env = { DOCKER_CONFIG: folder };
  const docker = (args: string[], input = '') => run('docker', args, { env, input });
  return {
    login: (username, password) => docker(['login', '--username', username, '--password-stdin', registry], password),
    logout: () => docker(['logout', registry]),
    async push(image, name) {
      await docker(['tag', `mkimage:${image}`, `${registry}/${name}`]);
      return docker(['push', `${registry}/${name}`]);
    },
    pull: (name) => docker(['pull', `${registry}/${name}`]),
    shell: (script, more) => run('bash', ['-o', 'pipefail', '-c', script], { env: { ...env, ...more } }),
    async kept() {
      const { auths } = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
      return auths[registry] ?? {};
    },
    async keep(credentials) {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'config.json'), JSON.stringify({ auths: { [registry]: credentials } }));
    },
  };
}
