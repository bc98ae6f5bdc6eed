/** An interactive shell without a terminal, into which blocks are pasted one after the other. */
import { spawn } from 'node:child_process';

export interface Outcome {
  failed: boolean;
  output: string;
}

export interface Shell {
  paste(text: string): Promise<Outcome>;
  end(): void;
}

export const SHELLS = ['bash', 'zsh'] as const;
export type ShellName = (typeof SHELLS)[number];

const ARGUMENTS: Record<ShellName, string[]> = { bash: ['--noprofile', '--norc', '-i'], zsh: ['-f', '-i'] };
/** The options of each shell that make a block fail if any of its commands fails, also in a pipeline or a substitution. */
const PROLOGUE: Record<ShellName, string> = {
  bash: `PS1= PS2=; set -o pipefail; FAILED=0; trap 'FAILED=1' ERR\n`,
  zsh: `PS1= PS2=; PROMPT_EOL_MARK=; setopt pipefail; FAILED=0; TRAPZERR() { FAILED=1 }\n`,
};
const BLOCK_TIMEOUT_MS = 180_000;

export function openShell(name: ShellName, cwd: string, env: Record<string, string>): Shell {
  const child = spawn(name, ARGUMENTS[name], { cwd, env, detached: true, stdio: 'pipe' });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let output = '';
  let heard = () => {};
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      output += data.toString();
      heard();
    });
  }
  child.stdin.on('error', () => {});
  child.stdin.write(PROLOGUE[name]);

  async function paste(text: string): Promise<Outcome> {
    const mark = `end-of-block-${Math.random().toString(36).slice(2)}`;
    output = '';
    child.stdin.write(`${text}\nprintf '\\n%s %s\\n' ${mark} "$FAILED"; FAILED=0\n`);
    const done = new RegExp(`^${mark} (\\d)`, 'm');
    const timeout = AbortSignal.timeout(BLOCK_TIMEOUT_MS);
    const found = await Promise.race([
      new Promise<string>((resolve) => {
        heard = () => {
          const [, failed] = done.exec(output) ?? [];
          if (failed !== undefined) resolve(failed);
        };
      }),
      ended.then(() => 'the shell ended'),
      new Promise<string>((resolve) => timeout.addEventListener('abort', () => resolve('it did not end'))),
    ]);
    const said = output.slice(0, output.search(done) === -1 ? undefined : output.search(done)).trim();
    return { failed: found !== '0', output: found === '0' || found === '1' ? said : `${said}\n${found}` };
  }

  return { paste, end: () => endGroup(child.pid) };
}

/** Ends a program and everything that it started. */
export function endGroup(pid: number | undefined, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // The program has already ended.
  }
}
