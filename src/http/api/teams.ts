/** Teams of an organization and their members. */
import { Hono } from 'hono';
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
} from '../../auth/people/teams.ts';
import { description } from '../../contract/fields.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { parseName } from '../../vocabulary/names.ts';
import { type AppEnv, actorOf } from '../context.ts';
import { answer, answerNothing, answerPage, lastPart, timeOf } from './answers.ts';
import { asks } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn, pageQueryOf, subjectIn } from './params.ts';

const GROUP = 'Teams';

const teamSchema = z.strictObject({ name: z.string(), description: z.string(), createdAt: z.iso.datetime() });
const teamBody = z.strictObject({ description });
const memberSchema = z.strictObject({ user: z.string() });

const query = z.strictObject(PAGE_QUERY);

export const teams = new Hono<AppEnv>({ strict: false })
  .get(
    '/organizations/:organization/teams',
    asks('member'),
    operation({
      group: GROUP,
      summary: 'The teams of an organization',
      query,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(teamSchema) } },
    }),
    async (c) => answerPage(await listTeams(c.env, organizationIn(c), pageQueryOf(c.var.query)), shown, ({ name }) => name),
  )
  .get(
    '/organizations/:organization/teams/:team',
    asks('member'),
    operation({
      group: GROUP,
      summary: 'A team',
      answers: { 200: { description: 'What is said of it, and its ETag', schema: teamSchema } },
    }),
    async (c) => answerTeam(await getTeam(c.env, subjectIn(c, 'team'))),
  )
  .put(
    '/organizations/:organization/teams/:team',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Make a team, or describe one',
      description:
        'A new one may do nothing: save its policy next. A name that a deleted team had is refused while policies of repositories still name that team.',
      conditional: true,
      body: teamBody,
      answers: {
        200: { description: 'It was there, and is as described now', schema: teamSchema },
        201: { description: 'Made', schema: teamSchema },
      },
    }),
    async (c) => {
      const change = { ifVersion: expectedVersion(c), by: actorOf(c), authority: c.var.authority };
      const { team, created } = await putTeam(c.env, subjectIn(c, 'team'), c.var.body.description, change);
      return answerTeam(team, created ? 201 : 200);
    },
  )
  .delete(
    '/organizations/:organization/teams/:team',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Delete a team',
      description: 'With its policy. Policies of repositories that name it name nobody then.',
      conditional: true,
      answers: { 204: { description: 'Deleted' } },
    }),
    async (c) => {
      await deleteTeam(c.env, subjectIn(c, 'team'), { ifVersion: expectedVersion(c), by: actorOf(c) });
      return answerNothing();
    },
  )
  .get(
    '/organizations/:organization/teams/:team/members',
    asks('member'),
    operation({
      group: GROUP,
      summary: 'The members of a team',
      query,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(memberSchema) } },
    }),
    async (c) => {
      const page = await listTeamMembers(c.env, subjectIn(c, 'team'), pageQueryOf(c.var.query));
      return answerPage(
        page,
        (user) => ({ user }),
        ({ user }) => user,
      );
    },
  )
  .put(
    '/organizations/:organization/teams/:team/members/:user',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'Add a member of the organization to a team',
      body: z.strictObject({}),
      answers: {
        200: { description: 'They were in it', schema: memberSchema },
        201: { description: 'Added', schema: memberSchema },
      },
    }),
    async (c) => {
      const user = parseName(c.req.param('user'));
      const { added } = await addTeamMember(c.env, subjectIn(c, 'team'), user, actorOf(c));
      return answer({ user }, { status: added ? 201 : 200 });
    },
  )
  .delete(
    '/organizations/:organization/teams/:team/members/:user',
    asks('owner or self'),
    operation({
      group: GROUP,
      summary: 'Remove somebody from a team, or leave it',
      answers: { 204: { description: 'Removed' } },
    }),
    async (c) => {
      await removeTeamMember(c.env, subjectIn(c, 'team'), parseName(c.req.param('user')), actorOf(c));
      return answerNothing();
    },
  );

function answerTeam(team: Team, status = 200): Response {
  return answer(shown(team), { status, version: team.version });
}

function shown({ subject, description: said, createdAt }: Team): z.output<typeof teamSchema> {
  return { name: lastPart(subject), description: said, createdAt: timeOf(createdAt) };
}
