/** Routes of access keys. */

import { changeKey, createKey, getKey, listKeys, revokeKey, rotateKey } from '../../app/keys.ts';
import {
  changedKeySchema,
  createdKeySchema,
  keyChange,
  keyQuery,
  keyRevocation,
  keyRotation,
  keySchema,
  newKey,
} from '../../contract/keys.ts';
import { pageSchema } from '../../contract/pages.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage } from './answers.ts';
import { answerCreatedKey, shownKey, shownWarnings } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, pageQueryOf } from './params.ts';

const GROUP = 'Access keys';

export const keys = new Hono<AppEnv>({ strict: false })
  .get(
    '/keys',
    operation({
      group: GROUP,
      summary: 'List access keys',
      query: keyQuery,
      description: 'A narrowed key sees only itself.',
      refusals: { 'not-found': '`owner` does not exist, or you may not see their keys' },
      answers: { 200: { description: 'A page of your keys, or of the keys of `owner`', schema: pageSchema(keySchema) } },
    }),
    async (c) => {
      const page = await listKeys(callOf(c), c.var.query.owner, pageQueryOf(c.var.query));
      return answerPage(page, shownKey, ({ id }) => id);
    },
  )
  .post(
    '/keys',
    operation({
      group: GROUP,
      summary: 'Create an access key for yourself',
      description: 'The secret is shown only once. A repeated request with the same `Idempotency-Key` gets the same answer.',
      body: newKey,
      example: { body: { name: 'laptop', days: 90 } },
      repeatable: true,
      refusals: { 'limit-reached': 'You have 100 usable keys', conflict: 'The `Idempotency-Key` was used for another request' },
      answers: { 201: { description: 'The key and its secret', schema: createdKeySchema } },
    }),
    async (c) => answerCreatedKey(c, await createKey(callOf(c), c.var.body, idempotencyKeyOf(c))),
  )
  .get(
    '/keys/:key',
    operation({
      group: GROUP,
      summary: 'Read an access key',
      answers: { 200: { description: 'The key and its ETag', schema: keySchema } },
    }),
    async (c) => {
      const key = await getKey(callOf(c), c.req.param('key'));
      return answer(shownKey(key), { version: key.version });
    },
  )
  .patch(
    '/keys/:key',
    operation({
      group: GROUP,
      summary: 'Rename or narrow an access key, or change when it expires',
      description:
        'A key with statements is narrowed: it may do what both its owner and the statements allow. Fields that are ' +
        'left out stay unchanged.',
      body: keyChange,
      example: { body: { name: 'laptop', statements: [{ actions: ['pull'], repositories: ['acme/*'] }] } },
      conditional: true,
      refusals: {
        forbidden: 'The credential is not a personal access key, is narrowed, or is not of the owner',
        conflict: 'The key has expired, was revoked or replaced, or would have expired already',
      },
      answers: { 200: { description: 'The changed key and its new ETag', schema: changedKeySchema } },
    }),
    async (c) => {
      const { key, warnings } = await changeKey(callOf(c), c.req.param('key'), c.var.body, expectedVersion(c));
      return answer({ ...shownKey(key), ...shownWarnings(warnings) }, { version: key.version });
    },
  )
  .delete(
    '/keys/:key',
    operation({
      group: GROUP,
      summary: 'Revoke an access key',
      description:
        'Takes effect at once, cannot be undone, and also revokes all keys that replaced it. Keys that were created ' +
        'with it keep working unless `made` is `revoke`; `madeWith` in a key says which key created it. A revoked ' +
        'key stays in the list. Any key may revoke itself.',
      query: keyRevocation,
      refusals: { forbidden: 'You may see the key, but only its owner may revoke it, with a key that is not narrowed' },
      answers: { 204: { description: 'The key was revoked' } },
    }),
    async (c) => {
      await revokeKey(callOf(c), c.req.param('key'), c.var.query);
      return answerNothing();
    },
  )
  .post(
    '/keys/:key/rotate',
    operation({
      group: GROUP,
      summary: 'Replace an access key',
      description:
        'Creates a key with the same rights. The old key works for `overlap` more seconds. A key can be replaced once, ' +
        'and the new secret is shown once. Send an `Idempotency-Key` that nobody can guess: for ten minutes, the same ' +
        'request gets the same answer. Any key may replace itself; the new key then expires when the old one would ' +
        'have. Revoking a key also revokes the keys that replaced it.',
      body: keyRotation,
      example: { body: { overlap: 3600 } },
      repeatable: true,
      refusals: {
        forbidden: 'You may see the key, but not replace it; or it would prolong itself',
        conflict: 'The key has expired, was revoked, or was replaced already',
        'limit-reached': 'The owner has 100 usable keys',
      },
      answers: { 201: { description: 'The new key and its secret', schema: createdKeySchema } },
    }),
    async (c) => answerCreatedKey(c, await rotateKey(callOf(c), c.req.param('key'), c.var.body, idempotencyKeyOf(c))),
  );
