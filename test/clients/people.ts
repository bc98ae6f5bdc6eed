/**
 * Plays scenarios with several people and an unchanged docker against Berth (`node test/clients/people.ts`): invitations,
 * teams, public and private repositories, all kinds of credentials, CI jobs, a push that deploys, the history of tags, and the
 * messages to people who lack a right. Prints a line for each step.
 */
import { exitOnSignals, type Registry, startRegistry } from '../world/registry.ts';
import { apiOf } from './people/api.ts';
import { expiredLogin, expiringLogin, logOutEverywhere, narrowedKey, revocation, robot } from './people/credentials.ts';
import { deployment } from './people/deployment.ts';
import { type Engine, startEngine } from './people/engine.ts';
import { type Issuer, startIssuer } from './people/issuer.ts';
import { jobs } from './people/jobs.ts';
import { memory } from './people/memory.ts';
import type { Stage } from './people/stage.ts';
import { newSteps, type Step } from './people/steps.ts';
import { bootstrap, invitations, openToAll, organization, outsiders, pushAndPull } from './people/teams.ts';

const OUTPUT_SHOWN = 8000;

exitOnSignals();
const started = Date.now();
const steps = newSteps();
const registry = await startRegistry({ env: { ADMIN_PASSWORD: '', INSECURE_ISSUERS: 'on', INSECURE_WEBHOOKS: 'on' } });
try {
  await withEngine(registry);
  if (steps.failed > 0) process.stderr.write(`the registry printed:\n${registry.output().slice(-OUTPUT_SHOWN)}\n`);
} finally {
  await registry.stop();
}
console.log(`total time: ${Math.round((Date.now() - started) / 1000)} s`);
console.log(`${steps.passed} passed, ${steps.failed} failed, 0 skipped`);
process.exitCode = steps.failed === 0 && steps.passed > 0 ? 0 : 1;

async function withEngine(on: Registry): Promise<void> {
  let engine: Engine | undefined;
  await steps.step('a docker engine starts', async () => {
    engine = await startEngine(on.host);
  });
  if (!engine) return;
  const issuer = await startIssuer();
  try {
    await scenario(on, engine, issuer, steps.step);
  } finally {
    await issuer.stop();
    await engine.stop();
  }
}

async function scenario(on: Registry, engine: Engine, issuer: Issuer, step: Step): Promise<void> {
  const password = /Password +(\S+)/.exec(on.output())?.[1] ?? '';
  const stage: Stage = { registry: on, engine, step, admin: apiOf(on.url, password), keys: new Map() };
  await bootstrap(stage, password);
  await invitations(stage);
  await organization(stage);
  await pushAndPull(stage);
  await outsiders(stage);
  await openToAll(stage);
  await expiringLogin(stage);
  await expiredLogin(stage);
  await narrowedKey(stage);
  await robot(stage);
  await jobs(stage, issuer);
  await deployment(stage);
  await memory(stage);
  await revocation(stage);
  await logOutEverywhere(stage);
}
