/** The objects that all parts of the scenario share: a registry, a docker engine, and the people who have joined. */
import type { Registry } from '../../world/registry.ts';
import { type Api, apiOf, type Key } from './api.ts';
import type { Desk, Engine } from './engine.ts';
import type { Step } from './steps.ts';

export interface Stage {
  registry: Registry;
  engine: Engine;
  step: Step;
  admin: Api;
  /** The first access key of each person, by name. */
  keys: Map<string, Key>;
}

export interface Person {
  key: Key;
  api: Api;
  desk: Desk;
}

/** @throws Error for a user who has not joined, so that a step that needs them fails */
export function person({ registry, engine, keys }: Stage, name: string): Person {
  const key = keys.get(name);
  if (!key) throw new Error(`${name} has no key`);
  return { key, api: apiOf(registry.url, key.secret), desk: engine.desk(name) };
}
