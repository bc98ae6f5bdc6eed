/** The steps of a scenario. Each prints one line at its end, and a failed one does not prevent the others. */
import type { Ran } from './engine.ts';

export type Step = (name: string, run: () => Promise<unknown>) => Promise<void>;

export interface Steps {
  step: Step;
  passed: number;
  failed: number;
}

export function newSteps(): Steps {
  const steps: Steps = {
    passed: 0,
    failed: 0,
    async step(name, run) {
      const reason = await run().then(
        () => null,
        (error: unknown) => oneLine(error instanceof Error ? error.message : String(error)),
      );
      if (reason === null) steps.passed++;
      else steps.failed++;
      console.log(reason === null ? `${name}: ok` : `${name}: FAIL ${reason}`);
    },
  };
  return steps;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim().slice(0, 500);
}

/** @throws Error with the program's output if it failed */
export function worked(ran: Ran): Ran {
  if (ran.code === 0) return ran;
  throw new Error(`exit code ${ran.code}: ${ran.stderr || ran.stdout}`);
}

/** @throws Error if the program did not fail, or not with all of these words */
export function refused(ran: Ran, ...words: string[]): string {
  if (ran.code === 0) throw new Error(`it was not refused, but said: ${ran.stdout}`);
  for (const wanted of words) {
    if (!ran.stderr.includes(wanted)) throw new Error(`it was refused, but without "${wanted}": ${ran.stderr}`);
  }
  return ran.stderr;
}

/** The digest that docker prints after a push and a pull. */
export function digestIn(ran: Ran): string {
  const [digest] = /sha256:[0-9a-f]{64}/.exec(worked(ran).stdout.slice(ran.stdout.lastIndexOf('igest: '))) ?? [];
  if (digest === undefined) throw new Error(`there is no digest in: ${ran.stdout}`);
  return digest;
}

export function same(what: string, got: unknown, want: unknown): void {
  if (got !== want) throw new Error(`${what}: got ${got}, want ${want}`);
}
