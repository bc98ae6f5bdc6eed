/** What the reference says about the routes in `../robots.ts`. */

import { createdKeySchema, keySchema } from '../../../contract/answers/keys.ts';
import { robotSchema } from '../../../contract/answers/organizations.ts';
import { removedSchema } from '../../../contract/fields.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Robots';

export const robots: Reference = {
  'GET /organizations/:organization/robots': {
    group: GROUP,
    summary: 'List the robots of an organization',
    answers: { 200: { description: 'A page of robots, by name', schema: pageSchema(robotSchema) } },
  },
  'GET /organizations/:organization/robots/:robot': {
    group: GROUP,
    summary: 'Read a robot',
    answers: { 200: { description: 'The robot and its ETag', schema: robotSchema } },
  },
  'PUT /organizations/:organization/robots/:robot': {
    group: GROUP,
    summary: 'Create, describe, disable or enable a robot',
    description: 'A new robot has no rights: save its policy and create a key for it next.',
    example: { body: { description: 'Builds and deploys' } },
    refusals: { 'name-taken': 'A robot of this name was deleted', 'limit-reached': 'The organization has 500 robots' },
    answers: {
      200: { description: 'The robot existed and was changed', schema: robotSchema },
      201: { description: 'The created robot', schema: robotSchema },
    },
  },
  'DELETE /organizations/:organization/robots/:robot': {
    group: GROUP,
    summary: 'Delete a robot',
    description:
      "Revokes the robot's keys and deletes its policy. Statements that allow the robot something in the " +
      "organization's repositories no longer name it. Nobody can take its name again.",
    answers: {
      200: {
        description: 'The robot was deleted. The answer lists the repositories whose policies changed',
        schema: removedSchema,
      },
      204: { description: 'The robot was deleted. No policy named it' },
    },
  },
  'GET /organizations/:organization/robots/:robot/keys': {
    group: GROUP,
    summary: 'List the keys of a robot',
    answers: { 200: { description: 'A page of keys, by id', schema: pageSchema(keySchema) } },
  },
  'POST /organizations/:organization/robots/:robot/keys': {
    group: GROUP,
    summary: 'Create a key for a robot',
    description: 'The secret is shown only once. A repeated request with the same `Idempotency-Key` gets the same answer.',
    example: { body: { name: 'build server', days: 365 } },
    refusals: {
      disabled: 'The robot is disabled',
      'limit-reached': 'The robot has 100 usable keys',
      conflict: 'The `Idempotency-Key` was used for another request',
    },
    answers: { 201: { description: 'The key and its secret', schema: createdKeySchema } },
  },
};
