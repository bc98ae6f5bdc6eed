/**
 * Access keys: make, list, change, replace and revoke them. Whose keys somebody may see or touch is said in one place here;
 * to all others a key is not there.
 */
import { Hono } from 'hono';
import * as z from 'zod';
import type { Authority } from '../../auth/authority.ts';
import { type AccessKey, changeKey, getKey, listKeys } from '../../auth/people/access-keys.ts';
import { keysMadeWith, revokeKey, revokeKeys } from '../../auth/people/key-revocation.ts';
import { rotateKey } from '../../auth/people/key-rotation.ts';
import { isNarrowed, isUnscopedUser } from '../../auth/policy.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { settings } from '../../env.ts';
import { organizationOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, actorOf, type RequestContext } from '../context.ts';
import { answer, answerNothing, answerPage } from './answers.ts';
import { asks, requireWhole } from './guard.ts';
import {
  answerMadeKey,
  answerNewKey,
  changedKeySchema,
  daysOf,
  keyBody,
  keyDays,
  keyName,
  keySchema,
  keyStatements,
  madeKeySchema,
  narrowingOf,
  shownKey,
  warningsAbout,
} from './key-schemas.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, pageQueryOf } from './params.ts';

const GROUP = 'Access keys';

/** Seconds that a key goes on beside its successor. */
const OVERLAP_DEFAULT = 24 * 60 * 60;
const OVERLAP_MAX = 7 * OVERLAP_DEFAULT;

const listQuery = z.strictObject({
  ...PAGE_QUERY,
  owner: z
    .optional(z.string().max(255))
    .describe("Somebody else's: a robot's of an organization you own; an administrator's, anybody's"),
});

const changeBody = z.strictObject({ name: z.optional(keyName), statements: keyStatements, days: keyDays });

const revokeQuery = z.strictObject({
  successors: z
    .optional(z.literal('keep'))
    .describe('`keep`: keys that replaced it go on. For somebody else than the key itself'),
  made: z
    .optional(z.literal('revoke'))
    .describe(
      '`revoke`: keys that were made with it, and with those, end as well: your own, and those of robots of organizations you own',
    ),
});

const rotateBody = z.strictObject({
  overlap: z.int().min(0).max(OVERLAP_MAX).default(OVERLAP_DEFAULT).describe('Seconds until the old key ends'),
  days: keyDays.describe(
    'How long the new key lives; as long as the old one where nothing is said. Not for a key that replaces itself',
  ),
});

export const keys = new Hono<AppEnv>({ strict: false })
  .get(
    '/keys',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'List access keys',
      query: listQuery,
      description: 'A narrowed key sees itself alone.',
      answers: { 200: { description: 'Your own, or those of `owner`', schema: pageSchema(keySchema) } },
    }),
    async (c) => {
      const { authority } = c.var;
      const owner = (c.var.query.owner ?? authority.subject).toLowerCase();
      if (isNarrowed(authority)) return answerOwn(c, authority, owner);
      requireReach(authority, owner);
      const page = await listKeys(c.env, { owner, ...pageQueryOf(c.var.query) });
      return answerPage(page, shownKey, ({ id }) => id);
    },
  )
  .post(
    '/keys',
    asks('account'),
    operation({
      group: GROUP,
      summary: 'Make an access key',
      description:
        'For yourself. The secret is shown once; a repeated request with the same `Idempotency-Key` has the same answer.',
      body: keyBody,
      repeatable: true,
      answers: { 201: { description: 'The key and its secret', schema: madeKeySchema } },
    }),
    async (c) => answerNewKey(c, c.var.authority.subject, c.var.body),
  )
  .get(
    '/keys/:key',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'An access key',
      answers: { 200: { description: 'The key, and its ETag', schema: keySchema } },
    }),
    async (c) => {
      const key = await keyOf(c, c.var.authority);
      if (isNarrowed(c.var.authority) && key.id !== c.var.authority.via.key) throw new Refusal('not-found');
      return answerKey(isNarrowed(c.var.authority) ? { ...key, madeWith: null } : key);
    },
  )
  .patch(
    '/keys/:key',
    asks('account'),
    operation({
      group: GROUP,
      summary: 'Rename or narrow an access key, or change how long it lives',
      body: changeBody,
      conditional: true,
      answers: { 200: { description: 'The key as it is now, and its ETag', schema: changedKeySchema } },
    }),
    async (c) => {
      const { name, statements, days } = c.var.body;
      const key = await keyOf(c, c.var.authority);
      const change = {
        ...(name === undefined ? {} : { name }),
        ...(statements === undefined ? {} : { statements: narrowingOf(statements) }),
        ...(days === undefined ? {} : { days: daysOf(c.env, days) }),
      };
      const changed = await changeKey(c.env, key, change, { ifVersion: expectedVersion(c), by: actorOf(c) });
      return answer({ ...shownKey(changed), ...warningsAbout(changed) }, { version: changed.version });
    },
  )
  .delete(
    '/keys/:key',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'Revoke an access key',
      description:
        'At once, and for good, with all keys that replaced it. Keys that were made with it go on unless `made` says otherwise: the lists say of each key with which one it was made (`madeWith`). It stays in the list, for the record. Any key may revoke itself.',
      query: revokeQuery,
      answers: { 204: { description: 'Revoked' } },
    }),
    async (c) => {
      const key = await keyOf(c, c.var.authority);
      const alone = c.var.query.successors === 'keep';
      if (alone || !isItself(c.var.authority, key.id)) requireWhole(c.var.authority);
      if (alone && isItself(c.var.authority, key.id)) throw denied('a key that ends itself ends its successors too');
      if (c.var.query.made) requireWhole(c.var.authority);
      await revokeKey(c.env, key, alone, actorOf(c));
      if (c.var.query.made) await revokeMade(c, c.var.authority, key.id);
      return answerNothing();
    },
  )
  .post(
    '/keys/:key/rotate',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'Replace an access key',
      description:
        'By one that can do the same, once; the old one goes on for a while. The new secret is told once: send an `Idempotency-Key` that nobody can guess, and for ten minutes the same request with it has the same answer. Any key may replace itself: the new one then ends when the old one would have ended. To revoke a key revokes those that replaced it.',
      body: rotateBody,
      repeatable: true,
      answers: { 201: { description: 'The new key and its secret', schema: madeKeySchema } },
    }),
    async (c) => {
      const { overlap, days } = c.var.body;
      const key = await keyOf(c, c.var.authority);
      requireRotation(c.var.authority, key);
      const rotation = {
        overlap,
        days: days === undefined ? null : daysOf(c.env, days),
        maxDays: settings(c.env).keyMaxDays,
        idempotency: idempotencyKeyOf(c),
        by: actorOf(c),
      };
      return answerMadeKey(c, await rotateKey(c.env, key, rotation));
    },
  );

/** A narrowed credential sees the key that it is, or was made with. @throws not-found as for anybody who asks about others */
async function answerOwn(c: RequestContext, { subject, via }: Authority, owner: string): Promise<Response> {
  if (owner !== subject) throw new Refusal('not-found');
  return answer({
    items: via.key === undefined ? [] : [shownKey({ ...(await getKey(c.env, via.key)), madeWith: null })],
    next: null,
  });
}

/** Who has made a key with one that ends may make another meanwhile: what is left is looked for again. */
const ROUNDS = 5;

/** Ends what was made with a key, as far as whoever asks may see it. */
async function revokeMade(c: RequestContext, authority: Authority, id: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const made = (await keysMadeWith(c.env, id)).filter(({ owner }) => reaches(authority, owner));
    if (made.length === 0) return;
    for (const [owner, keys] of Map.groupBy(made, (key) => key.owner)) {
      await revokeKeys(
        c.env,
        owner,
        keys.map((key) => key.id),
        actorOf(c),
      );
    }
  }
}

/** The key of the path. @throws not-found where there is none that the caller may see */
async function keyOf(c: RequestContext, authority: Authority): Promise<AccessKey> {
  const key = await getKey(c.env, c.req.param('key') ?? '');
  requireReach(authority, key.owner);
  return key;
}

/** @throws not-found, as a key that is not there */
function requireReach(authority: Authority, owner: string): void {
  if (!reaches(authority, owner)) throw new Refusal('not-found');
}

function reaches(authority: Authority, owner: string): boolean {
  return owner === authority.subject || (isUnscopedUser(authority) && (authority.administrator || ownsRobot(authority, owner)));
}

/** An administrator stands in for the owners of every organization. */
function ownsRobot({ administrator, owns }: Authority, subject: string): boolean {
  return subject.startsWith('robot:') && (administrator || owns.includes(organizationOf(subject)));
}

/** What a rotation gives is a secret: nobody gets one that is somebody else's, not even an administrator. @throws forbidden */
function requireRotation(authority: Authority, { id, owner }: AccessKey): void {
  if (isItself(authority, id)) return;
  if (isUnscopedUser(authority) && (owner === authority.subject || ownsRobot(authority, owner))) return;
  throw denied('a key is replaced by itself, or by its owner with a key that is not narrowed');
}

function isItself({ credential, via }: Authority, key: string): boolean {
  return credential === 'key' && via.key === key;
}

function denied(message: string): Refusal {
  return new Refusal('forbidden', { message });
}

function answerKey(key: AccessKey): Response {
  return answer(shownKey(key), { version: key.version });
}
