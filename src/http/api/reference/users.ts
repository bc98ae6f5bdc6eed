/** What the reference says about the routes in `../users.ts`. */

import * as z from 'zod';
import {
  changedUserSchema,
  colleagueSchema,
  invitedUserSchema,
  joinedUserSchema,
  userSchema,
} from '../../../contract/answers/people.ts';
import { pageSchema } from '../../../contract/pages.ts';
import { SAMPLE_TOKEN } from '../samples.ts';
import type { Reference } from './described.ts';

const GROUP = 'Users';

export const users: Reference = {
  'GET /users': {
    group: GROUP,
    summary: 'List all users',
    answers: { 200: { description: 'A page of users, by name', schema: pageSchema(userSchema) } },
  },
  'GET /users/:user': {
    group: GROUP,
    summary: 'Read a user',
    description:
      'The user and administrators see all fields. Members of a common organization see only the name. A narrowed ' +
      'key sees only the name of its owner.',
    answers: { 200: { description: 'The user and its ETag', schema: z.union([userSchema, colleagueSchema]) } },
  },
  'PUT /users/:user': {
    group: GROUP,
    summary: 'Invite a user',
    description:
      'The answer contains a link. The user opens it within seven days and gets an access key; nobody chooses a ' +
      'password. The link works once. For a user who has not joined yet, the answer has the same link again. A user ' +
      'who has joined is changed, as by PATCH.',
    example: { body: { description: 'Alice Ngo, platform' } },
    refusals: {
      'name-taken': 'The name, or one that looks like it, is taken',
      'last-administrator': 'The user is the last administrator',
    },
    answers: {
      200: { description: 'The user existed', schema: invitedUserSchema },
      201: { description: 'The user was created and invited', schema: invitedUserSchema },
    },
  },
  'PATCH /users/:user': {
    group: GROUP,
    summary: 'Change, disable or enable a user',
    description:
      'A user is never deleted, so that nobody else can take the name. Disabling a user ends all logins, stops the ' +
      'access keys and closes the invitation. Enabling the user makes the access keys work again, except revoked ' +
      'ones. Fields that are left out stay unchanged.',
    example: { body: { administrator: true } },
    refusals: { 'last-administrator': 'The user is the last administrator' },
    answers: { 200: { description: 'The changed user and the new ETag', schema: changedUserSchema } },
  },
  'POST /users/:user/invitation': {
    group: GROUP,
    summary: 'Create a new invitation for a user',
    description:
      'Use this for a user whose invitation has expired, or who has lost all access keys. The previous link stops working.',
    refusals: { disabled: 'The user is disabled' },
    answers: { 201: { description: 'The invitation', schema: invitedUserSchema } },
  },
  'DELETE /users/:user/logins': {
    group: GROUP,
    summary: 'Log a user out everywhere',
    description:
      'Ends the login passwords and refresh tokens of the user at once. A client that was logged in can pull for up ' +
      'to five more minutes.',
    answers: { 204: { description: 'The user was logged out' } },
  },
  'POST /invitations/accept': {
    group: GROUP,
    summary: 'Accept an invitation',
    description: 'The answer contains an access key. An invitation works once.',
    example: { body: { token: SAMPLE_TOKEN } },
    answers: { 200: { description: 'The user and their first access key', schema: joinedUserSchema } },
  },
};
