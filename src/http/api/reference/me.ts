/** What the reference says about the routes in `../me.ts`. */

import { joinedSchema, memberInvitationSchema } from '../../../contract/answers/organizations.ts';
import { callerSchema, loginPasswordSchema } from '../../../contract/answers/people.ts';
import { pageSchema } from '../../../contract/pages.ts';
import { ANY_NAME } from '../me.ts';
import type { Reference } from './described.ts';

const GROUP = 'You';

export const me: Reference = {
  'GET /me': {
    group: GROUP,
    summary: 'Read who you are',
    description: 'Tells which user, robot or CI job the credential of this request belongs to, and what it is limited to.',
    answers: { 200: { description: 'You, according to the credential of this request', schema: callerSchema } },
  },
  'GET /me/invitations': {
    group: GROUP,
    summary: 'List the organizations that have invited you',
    answers: { 200: { description: 'A page of invitations, by organization', schema: pageSchema(memberInvitationSchema) } },
  },
  'POST /me/invitations/:organization/accept': {
    group: GROUP,
    summary: 'Join an organization that has invited you',
    description: 'You can leave the organization at any time: `DELETE /organizations/{organization}/members/{you}`.',
    example: { body: {} },
    refusals: {
      conflict: 'You have no open invitation of this organization',
      'limit-reached': 'You or the organization have reached a limit',
    },
    answers: { 200: { description: 'You are a member', schema: joinedSchema } },
  },
  'DELETE /me/invitations/:organization': {
    group: GROUP,
    summary: 'Decline an invitation to an organization',
    answers: { 204: { description: 'You have no open invitation of this organization' } },
  },
  'DELETE /me/logins': {
    group: GROUP,
    summary: 'Log out everywhere',
    description:
      'Ends your login passwords and refresh tokens at once, including the one of this request. A client that was ' +
      'logged in can pull for up to five more minutes.',
    refusals: {
      forbidden: 'The credential is narrowed; or `keys` is `true` and the credential is not a personal access key',
    },
    answers: { 204: { description: 'You are logged out' } },
  },
  'POST /login-password': {
    group: GROUP,
    summary: 'Create a password for docker login that expires by itself',
    description: `The password allows no more, and works no longer, than the credential of this request. If that is a CI
token, it works as long as the trust rule says. With \`Accept: text/plain\` the answer is only the password:
\`curl -H 'Accept: text/plain' … | docker login -u ${ANY_NAME} --password-stdin …\``,
    example: { body: { lifetime: 3600 } },
    refusals: { forbidden: 'The credential may not create one' },
    answers: { 200: { description: 'The password', schema: loginPasswordSchema } },
  },
};
