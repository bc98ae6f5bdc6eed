/** Routes of robots and their keys. */

import * as z from 'zod';
import { createRobotKey, listRobotKeys } from '../../app/keys.ts';
import { deleteRobot, getRobot, listRobots, putRobot, type Robot } from '../../app/organizations.ts';
import { removedSchema } from '../../contract/fields.ts';
import { createdKeySchema, keySchema, newKey } from '../../contract/keys.ts';
import { robotChange, robotSchema } from '../../contract/organizations.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { loginNameOf } from '../../vocabulary/names.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerPage, answerRemoved, lastPart, timeOf } from './answers.ts';
import { answerCreatedKey, shownKey } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, organizationIn, pageQueryOf, subjectIn } from './params.ts';

const GROUP = 'Robots';

const query = z.strictObject(PAGE_QUERY);

export const robots = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations/:organization/robots',
    operation({
      group: GROUP,
      summary: 'List the robots of an organization',
      query,
      answers: { 200: { description: 'A page of robots, by name', schema: pageSchema(robotSchema) } },
    }),
    async (c) =>
      answerPage(await listRobots(callOf(c), organizationIn(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get(
    '/organizations/:organization/robots/:robot',
    operation({
      group: GROUP,
      summary: 'Read a robot',
      answers: { 200: { description: 'The robot and its ETag', schema: robotSchema } },
    }),
    async (c) => answerRobot(await getRobot(callOf(c), subjectIn(c, 'robot'))),
  )
  .put(
    '/organizations/:organization/robots/:robot',
    operation({
      group: GROUP,
      summary: 'Create, describe, disable or enable a robot',
      description: 'A new robot has no rights: save its policy and create a key for it next.',
      conditional: true,
      body: robotChange,
      example: { body: { description: 'Builds and deploys' } },
      refusals: { 'name-taken': 'A robot of this name was deleted', 'limit-reached': 'The organization has 500 robots' },
      answers: {
        200: { description: 'The robot existed and was changed', schema: robotSchema },
        201: { description: 'The created robot', schema: robotSchema },
      },
    }),
    async (c) => {
      const { robot, created } = await putRobot(callOf(c), subjectIn(c, 'robot'), c.var.body, expectedVersion(c));
      return answerRobot(robot, created ? 201 : 200);
    },
  )
  .delete(
    '/organizations/:organization/robots/:robot',
    operation({
      group: GROUP,
      summary: 'Delete a robot',
      description:
        "Revokes the robot's keys and deletes its policy. Statements that allow the robot something in the " +
        "organization's repositories no longer name it. Nobody can take its name again.",
      conditional: true,
      answers: {
        200: {
          description: 'The robot was deleted. The answer lists the repositories whose policies changed',
          schema: removedSchema,
        },
        204: { description: 'The robot was deleted. No policy named it' },
      },
    }),
    async (c) => answerRemoved(await deleteRobot(callOf(c), subjectIn(c, 'robot'), expectedVersion(c))),
  )
  .get(
    '/organizations/:organization/robots/:robot/keys',
    operation({
      group: GROUP,
      summary: 'List the keys of a robot',
      query,
      answers: { 200: { description: 'A page of keys, by id', schema: pageSchema(keySchema) } },
    }),
    async (c) => {
      const page = await listRobotKeys(callOf(c), subjectIn(c, 'robot'), pageQueryOf(c.var.query));
      return answerPage(page, shownKey, ({ id }) => id);
    },
  )
  .post(
    '/organizations/:organization/robots/:robot/keys',
    operation({
      group: GROUP,
      summary: 'Create a key for a robot',
      description: 'The secret is shown only once. A repeated request with the same `Idempotency-Key` gets the same answer.',
      body: newKey,
      example: { body: { name: 'build server', days: 365 } },
      repeatable: true,
      refusals: {
        disabled: 'The robot is disabled',
        'limit-reached': 'The robot has 100 usable keys',
        conflict: 'The `Idempotency-Key` was used for another request',
      },
      answers: { 201: { description: 'The key and its secret', schema: createdKeySchema } },
    }),
    async (c) => answerCreatedKey(c, await createRobotKey(callOf(c), subjectIn(c, 'robot'), c.var.body, idempotencyKeyOf(c))),
  );

function answerRobot(robot: Robot, status = 200): Response {
  return answer(shown(robot), { status, version: robot.version });
}

function shown({ subject, description: said, disabled, createdAt }: Robot): z.output<typeof robotSchema> {
  return { name: lastPart(subject), login: loginNameOf(subject), description: said, disabled, createdAt: timeOf(createdAt) };
}
