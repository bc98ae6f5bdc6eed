/** What the reference says about the routes in `../keys.ts`. */

import { changedKeySchema, createdKeySchema, keySchema } from '../../../contract/answers/keys.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Access keys';

export const keys: Reference = {
  'GET /keys': {
    group: GROUP,
    summary: 'List access keys',
    description: 'A narrowed key sees only itself.',
    refusals: { 'not-found': '`owner` does not exist, or you may not see their keys' },
    answers: { 200: { description: 'A page of your keys, or of the keys of `owner`', schema: pageSchema(keySchema) } },
  },
  'POST /keys': {
    group: GROUP,
    summary: 'Create an access key for yourself',
    description: 'The secret is shown only once. A repeated request with the same `Idempotency-Key` gets the same answer.',
    example: { body: { name: 'laptop', days: 90 } },
    refusals: { 'limit-reached': 'You have 100 usable keys', conflict: 'The `Idempotency-Key` was used for another request' },
    answers: { 201: { description: 'The key and its secret', schema: createdKeySchema } },
  },
  'GET /keys/:key': {
    group: GROUP,
    summary: 'Read an access key',
    answers: { 200: { description: 'The key and its ETag', schema: keySchema } },
  },
  'PATCH /keys/:key': {
    group: GROUP,
    summary: 'Rename or narrow an access key, or change when it expires',
    description:
      'A key with statements is narrowed: it may do what both its owner and the statements allow. Fields that are ' +
      'left out stay unchanged.',
    example: { body: { name: 'laptop', statements: [{ actions: ['pull'], repositories: ['acme/*'] }] } },
    refusals: {
      forbidden: 'The credential is not a personal access key, is narrowed, or is not of the owner',
      conflict: 'The key has expired, was revoked or replaced, or would have expired already',
    },
    answers: { 200: { description: 'The changed key and its new ETag', schema: changedKeySchema } },
  },
  'DELETE /keys/:key': {
    group: GROUP,
    summary: 'Revoke an access key',
    description:
      'Takes effect at once, cannot be undone, and also revokes all keys that replaced it. Keys that were created ' +
      'with it keep working unless `made` is `revoke`; `madeWith` in a key says which key created it. A revoked ' +
      'key stays in the list. Any key may revoke itself.',
    refusals: { forbidden: 'You may see the key, but only its owner may revoke it, with a key that is not narrowed' },
    answers: { 204: { description: 'The key was revoked' } },
  },
  'POST /keys/:key/rotate': {
    group: GROUP,
    summary: 'Replace an access key',
    description:
      'Creates a key with the same rights. The old key works for `overlap` more seconds. A key can be replaced once, ' +
      'and the new secret is shown once. Send an `Idempotency-Key` that nobody can guess: for ten minutes, the same ' +
      'request gets the same answer. Any key may replace itself; the new key then expires when the old one would ' +
      'have. Revoking a key also revokes the keys that replaced it.',
    example: { body: { overlap: 3600 } },
    refusals: {
      forbidden: 'You may see the key, but not replace it; or it would prolong itself',
      conflict: 'The key has expired, was revoked, or was replaced already',
      'limit-reached': 'The owner has 100 usable keys',
    },
    answers: { 201: { description: 'The new key and its secret', schema: createdKeySchema } },
  },
};
