/** Creates a user with many rights, to measure the token requests of such a user: 20 teams with 200 statements in all. */
const TEAMS = 20;
const STATEMENTS = 10;

/** Creates the user through the management API. @param administrator NAME:PASSWORD @returns NAME:KEY of the user */
export async function memberOfManyTeams(url: string, administrator: string): Promise<string> {
  const call = async (method: string, path: string, body: object = {}): Promise<unknown> => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Basic ${Buffer.from(administrator).toString('base64')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const { invitation } = (await call('PUT', '/users/tina')) as { invitation: { token: string } };
  const { key } = (await call('POST', '/invitations/accept', { token: invitation.token })) as { key: { secret: string } };
  await call('PUT', '/organizations/bench');
  await call('PUT', '/organizations/bench/members/tina', { role: 'member' });
  for (let team = 0; team < TEAMS; team++) {
    const path = `/organizations/bench/teams/team${team}`;
    await call('PUT', path);
    await call('PUT', `${path}/members/tina`);
    const statements = Array.from({ length: STATEMENTS }, (_, n) => ({
      actions: 'push and pull',
      repositories: [team + n === 0 ? 'bench/app' : `bench/team${team}-${n}-*`],
    }));
    await call('PUT', `${path}/policy`, { statements });
  }
  return `tina:${key.secret}`;
}
