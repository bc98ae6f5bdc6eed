/** Who holds a password. For now there is one account, the administrator, whose password is generated, not chosen. */
import type { Env } from '../env.ts';
import type { Caller } from './policy.ts';
import { derivedPassword, type Secrets, sameSecret } from './secrets.ts';

type Accounts = Secrets & Pick<Env, 'ADMIN_PASSWORD'>;

const ADMINISTRATOR = 'admin';

export async function administratorPassword(env: Accounts): Promise<string> {
  return env.ADMIN_PASSWORD || (await derivedPassword(env, ADMINISTRATOR));
}

/** `null` for an unknown name and a wrong password alike; both take the same work. */
export async function authenticate(env: Accounts, name: string, password: string): Promise<Caller | null> {
  const right = await sameSecret(password, await administratorPassword(env));
  return right && name.toLowerCase() === ADMINISTRATOR ? callerOf(ADMINISTRATOR) : null;
}

/** The account behind a subject that a token names, `null` where it is gone. */
export function callerBySubject(subject: string): Caller | null {
  return subject === `user:${ADMINISTRATOR}` ? callerOf(ADMINISTRATOR) : null;
}

function callerOf(name: string): Caller {
  return { subject: `user:${name}`, administrator: name === ADMINISTRATOR, grants: null };
}
