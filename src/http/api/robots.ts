/** Routes of robots and their keys. */

import * as z from 'zod';
import { createRobotKey, listRobotKeys } from '../../app/keys.ts';
import { deleteRobot, getRobot, listRobots, putRobot, type Robot } from '../../app/organizations.ts';
import type { robotSchema } from '../../contract/answers/organizations.ts';
import { newKey } from '../../contract/keys.ts';
import { robotChange } from '../../contract/organizations.ts';
import { PAGE_QUERY } from '../../contract/pages.ts';
import { loginNameOf } from '../../vocabulary/names.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerPage, answerRemoved, lastPart, timeOf } from './answers.ts';
import { answerCreatedKey, shownKey } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, organizationIn, pageQueryOf, subjectIn } from './params.ts';

const query = z.strictObject(PAGE_QUERY);

export const robots = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations/:organization/robots',
    operation({
      query,
    }),
    async (c) =>
      answerPage(await listRobots(callOf(c), organizationIn(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get('/organizations/:organization/robots/:robot', operation({}), async (c) =>
    answerRobot(await getRobot(callOf(c), subjectIn(c, 'robot'))),
  )
  .put(
    '/organizations/:organization/robots/:robot',
    operation({
      conditional: true,
      body: robotChange,
    }),
    async (c) => {
      const { robot, created } = await putRobot(callOf(c), subjectIn(c, 'robot'), c.var.body, expectedVersion(c));
      return answerRobot(robot, created ? 201 : 200);
    },
  )
  .delete(
    '/organizations/:organization/robots/:robot',
    operation({
      conditional: true,
    }),
    async (c) => answerRemoved(await deleteRobot(callOf(c), subjectIn(c, 'robot'), expectedVersion(c))),
  )
  .get(
    '/organizations/:organization/robots/:robot/keys',
    operation({
      query,
    }),
    async (c) => {
      const page = await listRobotKeys(callOf(c), subjectIn(c, 'robot'), pageQueryOf(c.var.query));
      return answerPage(page, shownKey, ({ id }) => id);
    },
  )
  .post(
    '/organizations/:organization/robots/:robot/keys',
    operation({
      body: newKey,
      repeatable: true,
    }),
    async (c) => answerCreatedKey(c, await createRobotKey(callOf(c), subjectIn(c, 'robot'), c.var.body, idempotencyKeyOf(c))),
  );

function answerRobot(robot: Robot, status = 200): Response {
  return answer(shown(robot), { status, version: robot.version });
}

function shown({ subject, description: said, disabled, createdAt }: Robot): z.output<typeof robotSchema> {
  return { name: lastPart(subject), login: loginNameOf(subject), description: said, disabled, createdAt: timeOf(createdAt) };
}
