/** What the runtime and the Worker in it print, one clear line each. */

/** The runtime's own words for a failure: where in its source, what, and behind it a stack of addresses that help nobody here. */
const RUNTIME_FAILURE = /^(?:.*? = )?\S+\.(?:c\+\+|h|rs):\d+: (?:failed|disconnected|overloaded): /;
const STACK = /;?\s*\bstack: (?:\S+@[0-9a-f]+\s*)+[\s\S]*$/;

/** Of the runtime, without its stack and its source; of the Worker, as it is. */
export function plainMessage(message: string): string {
  const cut = message.replace(STACK, '');
  if (cut === message && !RUNTIME_FAILURE.test(message)) return message;
  return `runtime: ${cut.replace(RUNTIME_FAILURE, '').trim()}`;
}

export function printLog({ level, message }: { level: string; message: string }): void {
  if (level === 'error' || level === 'warn') console.error(plainMessage(message));
  else console.log(plainMessage(message));
}
