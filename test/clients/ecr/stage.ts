/** The objects that all parts of the walk share, and the programs of AWS as one person runs them. */
import type { Registry } from '../../world/registry.ts';
import { type Api, apiOf, type Key } from '../people/api.ts';
import type { Desk, Engine, Ran } from '../people/engine.ts';
import type { Step } from '../people/steps.ts';

export interface AwsStage {
  registry: Registry;
  engine: Engine;
  step: Step;
  admin: Api;
  /** The folder into which `install.sh` has installed the programs. */
  folder: string;
  people: Map<string, AwsPerson>;
}

export interface AwsPerson {
  key: Key;
  api: Api;
  desk: Desk;
  /** Runs a script. `aws1` and `aws2` are the two versions of the AWS CLI, with the person's key and the registry's address. */
  shell(script: string): Promise<Ran>;
}

const REGION = 'eu-central-1';

/** Invites a user, who accepts and gets an access key. */
export async function signUp(stage: AwsStage, name: string): Promise<void> {
  const { admin, registry, engine, folder, people } = stage;
  const { invitation } = await admin.call<{ invitation: { token: string } }>('PUT', `/users/${name}`, {});
  const accepted = { token: invitation.token };
  const { key } = await apiOf(registry.url).call<{ key: Key }>('POST', '/invitations/accept', accepted);
  const desk = engine.desk(name);
  const env = {
    AWS_ACCESS_KEY_ID: key.id,
    AWS_SECRET_ACCESS_KEY: key.secret,
    AWS_DEFAULT_REGION: REGION,
    AWS_REGION: REGION,
    AWS_ENDPOINT_URL_ECR: registry.url,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_PAGER: '',
    REGISTRY_URL: registry.url,
    FOLDER: folder,
  };
  // Version 2 of Debian does not read AWS_ENDPOINT_URL_ECR.
  const programs = `aws1() { "$FOLDER/python/bin/aws" "$@"; }; aws2() { /usr/bin/aws --endpoint-url "$REGISTRY_URL" "$@"; }; `;
  const shell = (script: string) => desk.shell(programs + script, env);
  people.set(name, { key, api: apiOf(registry.url, key.secret), desk, shell });
}

/** @throws Error for a name that has not signed up */
export function personOf({ people }: AwsStage, name: string): AwsPerson {
  const person = people.get(name);
  if (!person) throw new Error(`${name} has not signed up`);
  return person;
}
