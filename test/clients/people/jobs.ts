/** CI without a stored secret: the password is the token that the platform gives the job. A rule limits the job's tags. */
import { setTimeout } from 'node:timers/promises';
import type { Issuer } from './issuer.ts';
import { person, type Stage } from './stage.ts';
import { digestIn, refused, worked } from './steps.ts';

const REPOSITORY_ID = '74';

const RULE = {
  claims: { repository_id: REPOSITORY_ID },
  statements: [
    // docker checks which blobs exist before it pushes, so a job needs to pull too.
    { actions: 'pull only', repositories: ['acme/app'], when: { event_name: ['push', 'pull_request'] } },
    mayPush('main-*', { event_name: 'push', ref: 'refs/heads/main' }),
    mayPush('v*', { event_name: 'push', ref: 'refs/tags/v*' }),
    mayPush('pr-{pull_request}-*', { event_name: 'pull_request' }),
  ],
};

function mayPush(tag: string, when: Record<string, string>) {
  return { actions: ['push', 'retag'], repositories: ['acme/app'], tags: [tag], when };
}

/** Claims of a GitHub job that rules use (GitHub Docs, "OpenID Connect reference"). */
const JOB = {
  repository: 'acme/app',
  repository_id: REPOSITORY_ID,
  repository_owner: 'acme',
  repository_owner_id: '65',
  event_name: 'push',
};
const MAIN = { ...JOB, sub: 'repo:acme/app:ref:refs/heads/main', ref: 'refs/heads/main', ref_type: 'branch' };
const RELEASE = { ...JOB, sub: 'repo:acme/app:ref:refs/tags/v2.0', ref: 'refs/tags/v2.0', ref_type: 'tag' };
const PULL_REQUEST = {
  ...JOB,
  sub: 'repo:acme/app:pull_request',
  ref: 'refs/pull/7/merge',
  ref_type: 'branch',
  event_name: 'pull_request',
};
const FORK = { ...MAIN, repository_id: '75' };

/** The lifetime of a token that expires before the job ends. */
const BRIEF_SECONDS = 15;

const NOT_THIS_TAG = 'denied: this tag does not exist, and you do not have the right to create it (push)';

export async function jobs(stage: Stage, issuer: Issuer): Promise<void> {
  const { step, engine, registry } = stage;
  const desk = engine.desk('job');
  const login = async (claims: Record<string, string>) =>
    desk.login('ci', await issuer.token({ ...claims, aud: registry.host }));
  await step('alice lets the jobs of a repository push, by branch, tag and pull request', () =>
    person(stage, 'alice').api.call('PUT', '/organizations/acme/trust-rules/github', { ...RULE, issuer: issuer.url }),
  );
  await step('a job of the branch main pushes main-1', async () => {
    worked(await login(MAIN));
    digestIn(await desk.push('one', 'acme/app:main-1'));
    digestIn(await desk.push('two', 'acme/app:main-1'));
  });
  await step('it may not push latest, nor v3', async () => {
    refused(
      await desk.push('one', 'acme/app:latest'),
      'denied: this tag exists, and you do not have the right to move it (retag)',
    );
    refused(await desk.push('one', 'acme/app:v3'), NOT_THIS_TAG);
  });
  await step('a job of the tag v2.0 pushes v2.0', async () => {
    worked(await login(RELEASE));
    digestIn(await desk.push('one', 'acme/app:v2.0'));
  });
  await step('a job of pull request 7 pushes pr-7-x', async () => {
    worked(await login(PULL_REQUEST));
    digestIn(await desk.push('one', 'acme/app:pr-7-x'));
  });
  await step('it may not push main-2, nor pr-8-x', async () => {
    refused(await desk.push('one', 'acme/app:main-2'), NOT_THIS_TAG);
    refused(await desk.push('one', 'acme/app:pr-8-x'), NOT_THIS_TAG);
  });
  await step('a job pushes after its own token has expired, with docker and with skopeo', async () => {
    const token = await issuer.token({ ...MAIN, aud: registry.host }, `${BRIEF_SECONDS}s`);
    worked(await desk.login('ci', token));
    // skopeo stores no credentials and sends the token with every request. The first request is made while the token is valid.
    const destination = ['--dest-tls-verify=false', '--dest-creds', `ci:${token}`];
    const copy = (tag: string) =>
      engine.skopeo('copy', ...destination, `${engine.layout}:one`, `docker://${registry.host}/acme/app:${tag}`);
    worked(await copy('main-3'));
    await setTimeout((BRIEF_SECONDS + 1) * 1000);
    digestIn(await desk.push('two', 'acme/app:main-4'));
    worked(await copy('main-5'));
  });
  await step('a job of another repository of the same name does not log in', async () => {
    refused(await login(FORK), 'unauthorized: ');
  });
}
