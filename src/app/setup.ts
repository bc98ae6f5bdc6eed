/** Refuses all requests and messages until the registry is set up. Every entry point of the Worker calls these checks first. */
import { checkSecrets, type Env, settings } from '../env.ts';
import { requireOwnStores, UnusableStoreError } from '../ownership.ts';
import { requireSecret } from '../secrets.ts';
import { report } from '../telemetry.ts';
import { Refusal } from '../vocabulary/refusal.ts';

/** @throws not-set-up if a secret or a setting is invalid. The message says what to do and does not contain the secret */
export function requireSettings(env: Env): void {
  try {
    requireSecret(env);
    checkSecrets(env);
    settings(env);
  } catch (error) {
    throw notSetUp(error as Error);
  }
}

/** @throws not-set-up if the database or the bucket belongs to another registry, or if the database lacks migrations */
export async function requireStores(env: Env): Promise<void> {
  try {
    await requireOwnStores(env);
  } catch (error) {
    throw error instanceof UnusableStoreError ? notSetUp(error) : error;
  }
}

function notSetUp({ message }: Error): Refusal {
  report('registry.not-set-up', { message });
  return new Refusal('not-set-up', { message: `this registry is not set up: ${message}` });
}
