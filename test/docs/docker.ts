/** Starts a docker engine for the blocks. It pulls `hello-world` from a mirror on this machine, not from Docker Hub. */
import { type Engine, startEngine } from '../clients/people/engine.ts';
import { startRegistry } from '../world/registry.ts';

export interface Docker {
  env: Record<string, string>;
  forgetImages(): Promise<unknown>;
  stop(): Promise<void>;
}

/** The full name of `hello-world` on Docker Hub, and so in the mirror. */
const IMAGE = 'library/hello-world';

/** @throws Error if docker is not available */
export async function startDocker(): Promise<Docker> {
  const mirror = await startRegistry();
  let engine: Engine | undefined;
  const stop = async () => {
    await engine?.stop();
    await mirror.stop();
  };
  try {
    engine = await startEngine(mirror.host, ['--registry-mirror', mirror.url]);
    const desk = engine.desk('mirror');
    for (const ran of [await desk.login(mirror.username, mirror.password), await desk.push('one', IMAGE)]) {
      if (ran.code !== 0) throw new Error(ran.stderr);
    }
    const answer = await fetch(`${mirror.url}/api/v1/repositories/${IMAGE}`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${mirror.password}`, 'content-type': 'application/json' },
      body: '{"visibility":"public"}',
    });
    if (!answer.ok) throw new Error(await answer.text());
  } catch (error) {
    await stop();
    throw error;
  }
  const { env, desk } = engine;
  return { env, forgetImages: () => desk('mirror').shell('docker image prune --all --force'), stop };
}
