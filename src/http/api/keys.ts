/** Routes of access keys. */

import { changeKey, createKey, getKey, listKeys, revokeKey, rotateKey } from '../../app/keys.ts';
import { keyChange, keyQuery, keyRevocation, keyRotation, newKey } from '../../contract/keys.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage } from './answers.ts';
import { answerCreatedKey, shownKey, shownWarnings } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, pageQueryOf } from './params.ts';

export const keys = new Hono<AppEnv>({ strict: false })
  .get(
    '/keys',
    operation({
      query: keyQuery,
    }),
    async (c) => {
      const page = await listKeys(callOf(c), c.var.query.owner, pageQueryOf(c.var.query));
      return answerPage(page, shownKey, ({ id }) => id);
    },
  )
  .post(
    '/keys',
    operation({
      body: newKey,
      repeatable: true,
    }),
    async (c) => answerCreatedKey(c, await createKey(callOf(c), c.var.body, idempotencyKeyOf(c))),
  )
  .get('/keys/:key', operation({}), async (c) => {
    const key = await getKey(callOf(c), c.req.param('key'));
    return answer(shownKey(key), { version: key.version });
  })
  .patch(
    '/keys/:key',
    operation({
      body: keyChange,
      conditional: true,
    }),
    async (c) => {
      const { key, warnings } = await changeKey(callOf(c), c.req.param('key'), c.var.body, expectedVersion(c));
      return answer({ ...shownKey(key), ...shownWarnings(warnings) }, { version: key.version });
    },
  )
  .delete(
    '/keys/:key',
    operation({
      query: keyRevocation,
    }),
    async (c) => {
      await revokeKey(callOf(c), c.req.param('key'), c.var.query);
      return answerNothing();
    },
  )
  .post(
    '/keys/:key/rotate',
    operation({
      body: keyRotation,
      repeatable: true,
    }),
    async (c) => answerCreatedKey(c, await rotateKey(callOf(c), c.req.param('key'), c.var.body, idempotencyKeyOf(c))),
  );
