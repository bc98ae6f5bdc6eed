/** Robots of an organization, and their keys. */
import { Hono } from 'hono';
import * as z from 'zod';
import { createRobotKey, listRobotKeys } from '../../app/keys.ts';
import { deleteRobot, getRobot, listRobots, putRobot, type Robot } from '../../auth/people/robots.ts';
import { description, removedSchema } from '../../contract/fields.ts';
import { createdKeySchema, keySchema, newKey } from '../../contract/keys.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { loginNameOf } from '../../vocabulary/names.ts';
import { type AppEnv, actorOf, callOf } from '../context.ts';
import { answer, answerPage, answerRemoved, lastPart, timeOf } from './answers.ts';
import { asks } from './guard.ts';
import { answerCreatedKey, shownKey } from './key-answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, organizationIn, pageQueryOf, subjectIn } from './params.ts';

const GROUP = 'Robots';

const robotSchema = z.strictObject({
  name: z.string(),
  login: z.string().describe('Its user name where it logs in with a key as password'),
  description: z.string(),
  disabled: z.boolean(),
  createdAt: z.iso.datetime(),
});

const robotBody = z.strictObject({
  description,
  disabled: z.optional(z.boolean()).describe('It may do nothing then, and its logins end. Left out, it stays as it is'),
});

const query = z.strictObject(PAGE_QUERY);

export const robots = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations/:organization/robots',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'The robots of an organization',
      query,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(robotSchema) } },
    }),
    async (c) => answerPage(await listRobots(c.env, organizationIn(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get(
    '/organizations/:organization/robots/:robot',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'A robot',
      answers: { 200: { description: 'The robot, and its ETag', schema: robotSchema } },
    }),
    async (c) => answerRobot(await getRobot(c.env, subjectIn(c, 'robot'))),
  )
  .put(
    '/organizations/:organization/robots/:robot',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Make a robot, describe, disable or enable it',
      description: 'A new one may do nothing: save its policy and make it a key next.',
      conditional: true,
      body: robotBody,
      answers: {
        200: { description: 'It was there, and is like this now', schema: robotSchema },
        201: { description: 'Made', schema: robotSchema },
      },
    }),
    async (c) => {
      const change = { ifVersion: expectedVersion(c), by: actorOf(c) };
      const { robot, created } = await putRobot(c.env, subjectIn(c, 'robot'), c.var.body, change);
      return answerRobot(robot, created ? 201 : 200);
    },
  )
  .delete(
    '/organizations/:organization/robots/:robot',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Delete a robot',
      description: `Its keys end, its policy is forgotten, and policies of its organization's repositories allow it nothing by name any more.
Its name is not given again.`,
      conditional: true,
      answers: {
        200: { description: 'Deleted, and what was taken from policies', schema: removedSchema },
        204: { description: 'Deleted; no policy allowed it anything by name' },
      },
    }),
    async (c) => {
      return answerRemoved(await deleteRobot(c.env, subjectIn(c, 'robot'), { ifVersion: expectedVersion(c), by: actorOf(c) }));
    },
  )
  .get(
    '/organizations/:organization/robots/:robot/keys',
    asks('owner'),
    operation({
      group: GROUP,
      summary: "A robot's keys",
      query,
      answers: { 200: { description: 'A page of them, by id', schema: pageSchema(keySchema) } },
    }),
    async (c) => {
      const page = await listRobotKeys(callOf(c), subjectIn(c, 'robot'), pageQueryOf(c.var.query));
      return answerPage(page, shownKey, ({ id }) => id);
    },
  )
  .post(
    '/organizations/:organization/robots/:robot/keys',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Make a key for a robot',
      description: 'The secret is shown this once. Send an `Idempotency-Key` to be able to repeat the request.',
      body: newKey,
      repeatable: true,
      answers: { 201: { description: 'Made', schema: createdKeySchema } },
    }),
    async (c) => answerCreatedKey(c, await createRobotKey(callOf(c), subjectIn(c, 'robot'), c.var.body, idempotencyKeyOf(c))),
  );

function answerRobot(robot: Robot, status = 200): Response {
  return answer(shown(robot), { status, version: robot.version });
}

function shown({ subject, description: said, disabled, createdAt }: Robot): z.output<typeof robotSchema> {
  return { name: lastPart(subject), login: loginNameOf(subject), description: said, disabled, createdAt: timeOf(createdAt) };
}
