/** What requests and answers about access keys have in common, whoever owns the key. */
import * as z from 'zod';
import { type AccessKey, createKey, DAY, type MadeKey } from '../../auth/people/access-keys.ts';
import { pushWithoutPull } from '../../auth/policy-warnings.ts';
import { type Env, settings } from '../../env.ts';
import { loginNameOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { actorOf, type RequestContext, runtimeOf } from '../context.ts';
import { answer, timeOf } from './answers.ts';
import { idempotencyKeyOf } from './params.ts';
import { identityStatements, shownStatement, statementOf, statementSchema } from './statements.ts';

export const keyName = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .refine((text) => !/[\p{Cc}\p{Cf}\p{Cs}]/u.test(text), 'has characters that cannot be seen')
  .describe('For people: what the key is for');

export const keyStatements = z
  .optional(z.nullable(identityStatements))
  .describe('Narrows what the owner may do: allowed is what both allow. `null`: not narrowed');

export const keyDays = z.optional(z.int().min(1)).describe('How long it lives, counted from its creation');

export const keyBody = z.strictObject({ name: keyName, statements: keyStatements, days: keyDays });

export const keySchema = z.strictObject({
  id: z.string().describe('20 capital letters and digits'),
  name: z.string(),
  owner: z.string().describe('`user:…` or `robot:…/…`'),
  statements: z.nullable(z.array(statementSchema)).describe('`null`: not narrowed'),
  createdAt: z.iso.datetime(),
  createdBy: z.string(),
  madeWith: z
    .nullable(z.string())
    .describe(
      'The id of another key with which it was asked for; `null` where that is not known, or not told to a narrowed key',
    ),
  expiresAt: z.iso.datetime(),
  revokedAt: z.nullable(z.iso.datetime()),
  lastUsedOn: z.nullable(z.iso.date()).describe('In UTC'),
  state: z.enum(['active', 'expired', 'revoked']),
});

export const keyWarnings = z
  .optional(z.array(z.string()))
  .describe('What its statements allow and is hardly meant, as push without pull, which docker needs');

/** A key after a change of its statements. */
export const changedKeySchema = keySchema.extend({ warnings: keyWarnings });

export const madeKeySchema = z.strictObject({
  key: keySchema,
  warnings: keyWarnings,
  secret: z.string().describe('Shown this once: the password of docker, the bearer token of this API'),
  aws: z.strictObject({ accessKeyId: z.string(), secretAccessKey: z.string() }).describe('The same for programs of AWS'),
  login: z.string().describe('To be typed on the command line, which then asks for the secret'),
});

/** @throws request-invalid for more than this registry gives */
export function daysOf(env: Env, sent: number | undefined): number {
  const { keyDefaultDays, keyMaxDays } = settings(env);
  const days = sent ?? keyDefaultDays;
  if (days <= keyMaxDays) return days;
  throw new Refusal('request-invalid', { message: `body.days: a key lives for up to ${keyMaxDays} days here` });
}

/** As they are kept. */
export function narrowingOf(sent: z.output<typeof keyStatements>) {
  return sent ? sent.map(statementOf) : null;
}

export function shownKey(key: AccessKey) {
  const { id, name, owner, createdBy, madeWith, state } = key;
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
    lastUsedOn: key.lastUsedDay === null ? null : timeOf(key.lastUsedDay * DAY).slice(0, 10),
    state,
  };
}

export function warningsAbout({ statements }: AccessKey): { warnings?: string[] } {
  const warnings = statements ? pushWithoutPull(statements, 'key') : [];
  return warnings.length > 0 ? { warnings } : {};
}

/** A key for `owner` as the request describes it. @throws request-invalid, and as `createKey` */
export async function answerNewKey(
  c: RequestContext,
  owner: string,
  { name, statements, days }: z.output<typeof keyBody>,
): Promise<Response> {
  const made = await createKey(c.env, {
    owner,
    name,
    statements: narrowingOf(statements),
    days: daysOf(c.env, days),
    idempotency: idempotencyKeyOf(c),
    by: actorOf(c),
  });
  return answerMadeKey(c, made);
}

/** With the secret: the only answers that have one. */
export function answerMadeKey(c: RequestContext, { key, secret }: MadeKey): Response {
  const made = {
    key: shownKey(key),
    ...warningsAbout(key),
    secret,
    aws: { accessKeyId: key.id, secretAccessKey: secret },
    login: `docker login -u ${loginNameOf(key.owner)} ${runtimeOf(c).service}`,
  };
  return answer(made, { status: 201, version: key.version });
}
