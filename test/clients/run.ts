/**
 * Runs real container clients against Berth with the script clients-smoke.sh. `node test/clients/run.ts [storage|stream]`
 * starts a registry, or uses the registry that REGISTRY=HOST:PORT, REGISTRY_USERNAME and REGISTRY_PASSWORD name.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Target, Verify } from '../world/registry.ts';
import { exitOnSignals, registryFromEnv, startRegistry } from '../world/registry.ts';

const SCRIPT = fileURLToPath(new URL('clients-smoke.sh', import.meta.url));
const OUTPUT_SHOWN = 8000;

exitOnSignals();
const given = registryFromEnv();
process.exitCode = given === null ? await overOwnRegistry(verifyMode(process.argv[2])) : await clients(given);

function verifyMode(text = 'storage'): Verify {
  if (text === 'storage' || text === 'stream') return text;
  throw new Error(`${text}: not one of storage, stream`);
}

async function overOwnRegistry(verify: Verify): Promise<number> {
  const registry = await startRegistry({ verify });
  try {
    const code = await clients(registry);
    if (code !== 0) process.stderr.write(`the registry printed:\n${registry.output().slice(-OUTPUT_SHOWN)}\n`);
    return code;
  } finally {
    await registry.stop();
  }
}

/** Runs the script. It is in the process group of this program and ends with it. @returns the exit code */
function clients(target: Target): Promise<number> {
  const child = spawn('bash', [SCRIPT, target.host], {
    env: { ...process.env, REGISTRY_USERNAME: target.username, REGISTRY_PASSWORD: target.password },
    stdio: 'inherit',
  });
  process.once('exit', () => child.kill());
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}
