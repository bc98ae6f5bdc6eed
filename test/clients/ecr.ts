/**
 * Plays the walk that teaches Amazon ECR against Berth (`node test/clients/ecr.ts`), with the unchanged programs of AWS and an
 * unchanged docker: a login that expires, repositories, images, policies, lifecycle rules, immutable tags and deletions. Prints a
 * line for each step.
 */
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { exitOnSignals, type Registry, startRegistry } from '../world/registry.ts';
import { images, lifecycle, lockedTags, logins, policies, repositories, revocation } from './ecr/cli.ts';
import { libraries } from './ecr/libraries.ts';
import { type AwsStage, signUp } from './ecr/stage.ts';
import { apiOf } from './people/api.ts';
import { type Engine, startEngine } from './people/engine.ts';
import { newSteps } from './people/steps.ts';

const OUTPUT_SHOWN = 8000;
const INSTALL = fileURLToPath(new URL('ecr/install.sh', import.meta.url));
const CACHE = process.env.AWS_CLIENTS_CACHE ?? join(tmpdir(), 'berth-aws-clients');

exitOnSignals();
const started = Date.now();
const steps = newSteps();
const registry = await startRegistry();
let engine: Engine | undefined;
try {
  await steps.step('the programs of AWS are installed', install);
  await steps.step('a docker engine starts', async () => {
    engine = await startEngine(registry.host);
  });
  if (engine && steps.failed === 0) await walk(registry, engine);
  if (steps.failed > 0) process.stderr.write(`the registry printed:\n${registry.output().slice(-OUTPUT_SHOWN)}\n`);
} finally {
  await engine?.stop();
  await registry.stop();
}
console.log(`total time: ${Math.round((Date.now() - started) / 1000)} s`);
console.log(`${steps.passed} passed, ${steps.failed} failed, 0 skipped`);
process.exitCode = steps.failed === 0 && steps.passed > 0 ? 0 : 1;

async function install(): Promise<void> {
  const { stdout } = await promisify(execFile)('bash', [INSTALL, CACHE]);
  if (stdout.trim() !== 'ready') throw new Error(stdout);
}

async function walk(on: Registry, docker: Engine): Promise<void> {
  const admin = apiOf(on.url, on.password);
  const stage: AwsStage = { registry: on, engine: docker, step: steps.step, admin, folder: CACHE, people: new Map() };
  await signUp(stage, 'alice');
  await signUp(stage, 'bob');
  await logins(stage);
  await repositories(stage);
  await images(stage);
  await policies(stage);
  await lifecycle(stage);
  await lockedTags(stage);
  await libraries(stage);
  await revocation(stage);
}
