/** Records events without a change, for tests of how events are processed. */
import { type Database, newBatch, type Results } from '../../src/events/batch.ts';
import { type EventSource, recordEvent } from '../../src/events/outbox.ts';

export function recordAll(env: Database, sources: readonly EventSource[]): Promise<Results> {
  const batch = newBatch(env);
  for (const source of sources) recordEvent(batch, source);
  return batch.commit();
}
