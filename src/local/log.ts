/** Prints the log lines of the runtime and of the Worker in a readable form. */

/** The beginning of an error message of the runtime: the position in the runtime's source code, and the kind of the failure. */
const RUNTIME_FAILURE = /^(?:.*? = )?\S+\.(?:c\+\+|h|rs):\d+: (?:failed|disconnected|overloaded): /;
const STACK = /;?\s*\bstack: (?:\S+@[0-9a-f]+\s*)+[\s\S]*$/;

/**
 * Removes the position in the source code and the stack from a message of the runtime. Messages of the Worker are not changed.
 */
function plainMessage(message: string): string {
  const cut = message.replace(STACK, '');
  if (cut === message && !RUNTIME_FAILURE.test(message)) return message;
  return `runtime: ${cut.replace(RUNTIME_FAILURE, '').trim()}`;
}

export function printLog({ level, message }: { level: string; message: string }): void {
  if (level === 'error' || level === 'warn') console.error(plainMessage(message));
  else console.log(plainMessage(message));
}
