/** Reads the CPU time of the runtime. Unlike the duration of a call, it hardly depends on other programs on the machine. */
import { readdirSync, readFileSync } from 'node:fs';

const runtimes = new Map<number, number | null>();

/**
 * Returns the CPU time of all threads of the runtime (workerd), in milliseconds, or `null` on a system without /proc. @param
 * group the id of the process group
 */
export function cpuTimeOf(group: number): number | null {
  const runtime = runtimes.get(group) ?? findRuntime(group);
  runtimes.set(group, runtime);
  if (runtime === null) return null;
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${runtime}/task`)) {
    nanoseconds += Number(readText(`/proc/${runtime}/task/${thread}/schedstat`).split(' ')[0]);
  }
  return nanoseconds / 1e6;
}

function findRuntime(group: number): number | null {
  try {
    const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const found = processes.find((id) => {
      const [, name, rest = ''] = /\((.*)\) (.*)/.exec(readText(`/proc/${id}/stat`)) ?? [];
      return name === 'workerd' && Number(rest.split(' ')[2]) === group;
    });
    return found === undefined ? null : Number(found);
  } catch {
    return null;
  }
}

/** Returns the text of a file, or the empty string if the process has ended meanwhile. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
