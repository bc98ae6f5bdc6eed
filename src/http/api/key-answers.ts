/** Builds the answers about access keys, for the routes of a user's keys and of a robot's keys. */
import type { AccessKey, CreatedKey } from '../../app/keys.ts';
import { shownStatement } from '../../app/statements.ts';
import { loginNameOf } from '../../vocabulary/names.ts';
import { hostOf, type RequestContext } from '../context.ts';
import { answer, dateOf, timeOf } from './answers.ts';

/** One day in seconds. */

export function shownKey({ id, name, owner, createdBy, madeWith, state, ...key }: AccessKey) {
  return {
    id,
    name,
    owner,
    statements: key.statements?.map(shownStatement) ?? null,
    createdAt: timeOf(key.createdAt),
    createdBy,
    madeWith,
    expiresAt: timeOf(key.expiresAt),
    revokedAt: key.revokedAt === null ? null : timeOf(key.revokedAt),
    lastUsedOn: key.lastUsedDay === null ? null : dateOf(key.lastUsedDay),
    state,
  };
}

/** Answers with a new access key. Only this answer contains the secret of the key. */
export function answerCreatedKey(c: RequestContext, { key, warnings, secret }: CreatedKey): Response {
  const created = {
    key: shownKey(key),
    ...shownWarnings(warnings),
    secret,
    aws: { accessKeyId: key.id, secretAccessKey: secret },
    login: `docker login -u ${loginNameOf(key.owner)} ${hostOf(c)}`,
  };
  return answer(created, { status: 201, version: key.version });
}

/** Returns the field `warnings` of an answer. It is left out if there are no warnings. */
export function shownWarnings(warnings: string[]): { warnings?: string[] } {
  return warnings.length > 0 ? { warnings } : {};
}
