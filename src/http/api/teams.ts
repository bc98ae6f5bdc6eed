/** Routes of teams and their members. */

import * as z from 'zod';
import {
  addTeamMember,
  deleteTeam,
  getTeam,
  listTeamMembers,
  listTeams,
  putTeam,
  removeTeamMember,
  type Team,
} from '../../app/organizations.ts';
import type { teamSchema } from '../../contract/answers/organizations.ts';
import { teamChange } from '../../contract/organizations.ts';
import { PAGE_QUERY } from '../../contract/pages.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, lastPart, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn, pageQueryOf, subjectIn } from './params.ts';

const query = z.strictObject(PAGE_QUERY);

export const teams = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations/:organization/teams',
    operation({
      query,
    }),
    async (c) => answerPage(await listTeams(callOf(c), organizationIn(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get('/organizations/:organization/teams/:team', operation({}), async (c) =>
    answerTeam(await getTeam(callOf(c), subjectIn(c, 'team'))),
  )
  .put(
    '/organizations/:organization/teams/:team',
    operation({
      conditional: true,
      body: teamChange,
    }),
    async (c) => {
      const { description } = c.var.body;
      const { team, created } = await putTeam(callOf(c), subjectIn(c, 'team'), description, expectedVersion(c));
      return answerTeam(team, created ? 201 : 200);
    },
  )
  .delete(
    '/organizations/:organization/teams/:team',
    operation({
      conditional: true,
    }),
    async (c) => {
      await deleteTeam(callOf(c), subjectIn(c, 'team'), expectedVersion(c));
      return answerNothing();
    },
  )
  .get(
    '/organizations/:organization/teams/:team/members',
    operation({
      query,
    }),
    async (c) => {
      const page = await listTeamMembers(callOf(c), subjectIn(c, 'team'), pageQueryOf(c.var.query));
      return answerPage(
        page,
        (user) => ({ user }),
        ({ user }) => user,
      );
    },
  )
  .put(
    '/organizations/:organization/teams/:team/members/:user',
    operation({
      body: z.strictObject({}),
    }),
    async (c) => {
      const user = parseName(c.req.param('user'));
      const { added } = await addTeamMember(callOf(c), subjectIn(c, 'team'), user);
      return answer({ user }, { status: added ? 201 : 200 });
    },
  )
  .delete('/organizations/:organization/teams/:team/members/:user', operation({}), async (c) => {
    await removeTeamMember(callOf(c), subjectIn(c, 'team'), parseName(c.req.param('user')));
    return answerNothing();
  });

function answerTeam(team: Team, status = 200): Response {
  return answer(shown(team), { status, version: team.version });
}

function shown({ subject, description: said, createdAt }: Team): z.output<typeof teamSchema> {
  return { name: lastPart(subject), description: said, createdAt: timeOf(createdAt) };
}
