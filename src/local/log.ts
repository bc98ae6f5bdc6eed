/** Prints what the runtime and the Worker log, one clear line each. */

/** A failure as the runtime prints it: the place in its source, the message, and a stack of addresses that is useless here. */
const RUNTIME_FAILURE = /^(?:.*? = )?\S+\.(?:c\+\+|h|rs):\d+: (?:failed|disconnected|overloaded): /;
const STACK = /;?\s*\bstack: (?:\S+@[0-9a-f]+\s*)+[\s\S]*$/;

/** Removes source and stack from a message of the runtime. A message of the Worker stays as it is. */
function plainMessage(message: string): string {
  const cut = message.replace(STACK, '');
  if (cut === message && !RUNTIME_FAILURE.test(message)) return message;
  return `runtime: ${cut.replace(RUNTIME_FAILURE, '').trim()}`;
}

export function printLog({ level, message }: { level: string; message: string }): void {
  if (level === 'error' || level === 'warn') console.error(plainMessage(message));
  else console.log(plainMessage(message));
}
