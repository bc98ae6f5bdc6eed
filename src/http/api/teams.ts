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
import { teamChange, teamMemberSchema, teamSchema } from '../../contract/organizations.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, lastPart, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn, pageQueryOf, subjectIn } from './params.ts';

const GROUP = 'Teams';

const query = z.strictObject(PAGE_QUERY);

export const teams = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations/:organization/teams',
    operation({
      group: GROUP,
      summary: 'List the teams of an organization',
      query,
      answers: { 200: { description: 'A page of teams, by name', schema: pageSchema(teamSchema) } },
    }),
    async (c) => answerPage(await listTeams(callOf(c), organizationIn(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get(
    '/organizations/:organization/teams/:team',
    operation({
      group: GROUP,
      summary: 'Read a team',
      answers: { 200: { description: 'The team and its ETag', schema: teamSchema } },
    }),
    async (c) => answerTeam(await getTeam(callOf(c), subjectIn(c, 'team'))),
  )
  .put(
    '/organizations/:organization/teams/:team',
    operation({
      group: GROUP,
      summary: 'Create a team, or change its description',
      description:
        'A new team has no rights: save its policy next. The name of a deleted team is refused while policies of ' +
        'repositories still name that team.',
      conditional: true,
      body: teamChange,
      example: { body: { description: 'Developers' } },
      refusals: {
        conflict: 'Policies still name a deleted team of this name',
        'limit-reached': 'The organization has 200 teams',
      },
      answers: {
        200: { description: 'The team existed. Its description was changed', schema: teamSchema },
        201: { description: 'The created team', schema: teamSchema },
      },
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
      group: GROUP,
      summary: 'Delete a team',
      description: 'Deletes its policy too. Statements of repositories that name the team have no effect afterwards.',
      conditional: true,
      answers: { 204: { description: 'The team was deleted' } },
    }),
    async (c) => {
      await deleteTeam(callOf(c), subjectIn(c, 'team'), expectedVersion(c));
      return answerNothing();
    },
  )
  .get(
    '/organizations/:organization/teams/:team/members',
    operation({
      group: GROUP,
      summary: 'List the members of a team',
      query,
      answers: { 200: { description: 'A page of members, by name', schema: pageSchema(teamMemberSchema) } },
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
      group: GROUP,
      summary: 'Add a member of the organization to a team',
      body: z.strictObject({}),
      example: { path: { user: 'bob' }, body: {} },
      refusals: {
        conflict: 'The user is not a member of the organization',
        'limit-reached': 'The team, or the teams of the user, have reached a limit',
      },
      answers: {
        200: { description: 'The user was a member already', schema: teamMemberSchema },
        201: { description: 'The user was added', schema: teamMemberSchema },
      },
    }),
    async (c) => {
      const user = parseName(c.req.param('user'));
      const { added } = await addTeamMember(callOf(c), subjectIn(c, 'team'), user);
      return answer({ user }, { status: added ? 201 : 200 });
    },
  )
  .delete(
    '/organizations/:organization/teams/:team/members/:user',
    operation({
      group: GROUP,
      summary: 'Remove a member from a team, or leave it',
      example: { path: { user: 'bob' } },
      answers: { 204: { description: 'The member was removed' } },
    }),
    async (c) => {
      await removeTeamMember(callOf(c), subjectIn(c, 'team'), parseName(c.req.param('user')));
      return answerNothing();
    },
  );

function answerTeam(team: Team, status = 200): Response {
  return answer(shown(team), { status, version: team.version });
}

function shown({ subject, description: said, createdAt }: Team): z.output<typeof teamSchema> {
  return { name: lastPart(subject), description: said, createdAt: timeOf(createdAt) };
}
