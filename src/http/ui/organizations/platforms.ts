/**
 * CI platforms: which claims identify their jobs, which trust rule is built from them, and what a workflow needs to log in.
 * This module does no I/O.
 */
import type { NewTrustRule } from '../../../contract/trust-rules.ts';

type Statement = NewTrustRule['statements'][number];

interface Platform {
  label: string;
  /** Returns the issuer of the platform's tokens. It depends on the fields if each organization has an issuer of its own. */
  issuer: (field: (name: string) => string) => string;
  /** The fields of the form that identify the jobs. Each is a claim (`claim`), unless only the issuer needs it. */
  fields: readonly { name: string; label: string; hint: string; claim: string | null; value?: string }[];
  /** Returns the condition for the jobs of a branch. */
  branch: (name: string) => Record<string, string>;
  /** The condition for the jobs of pull requests, or `null` if the platform's tokens do not identify them. */
  pullRequest: Record<string, string> | null;
  /** Returns the part of a workflow file that logs in. */
  snippet: (host: string, audience: string) => string;
}

const login = (host: string) => `docker login -u ci --password-stdin ${host}`;

export const PLATFORMS = {
  github: {
    label: 'GitHub Actions',
    issuer: () => 'https://token.actions.githubusercontent.com',
    fields: [
      {
        name: 'repository_id',
        label: 'Id of the GitHub repository',
        hint: 'gh api repos/OWNER/NAME --jq .id prints it. A name could pass to somebody else.',
        claim: 'repository_id',
      },
    ],
    branch: (name) => ({ ref: `refs/heads/${name}` }),
    pullRequest: { event_name: 'pull_request' },
    snippet: (host, audience) => `permissions:
  contents: read
  id-token: write
steps:
  - run: |
      curl -fsS -H "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
        "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=${audience}" \\
        | jq -r .value | ${login(host)}`,
  },
  gitlab: {
    label: 'GitLab',
    issuer: (field) => field('issuer').replace(/\/+$/, ''),
    fields: [
      {
        name: 'issuer',
        label: 'Address of GitLab',
        hint: 'Of your own instance, or https://gitlab.com.',
        claim: null,
        value: 'https://gitlab.com',
      },
      {
        name: 'project_id',
        label: 'Id of the project',
        hint: 'In the menu of the project’s page: Copy project ID.',
        claim: 'project_id',
      },
    ],
    branch: (name) => ({ ref: name, ref_type: 'branch' }),
    pullRequest: { pipeline_source: 'merge_request_event' },
    snippet: (host, audience) => `job:
  id_tokens:
    BERTH_TOKEN: { aud: "${audience}" }
  script:
    - echo "$BERTH_TOKEN" | ${login(host)}`,
  },
  buildkite: {
    label: 'Buildkite',
    issuer: () => 'https://agent.buildkite.com',
    fields: [
      {
        name: 'organization_slug',
        label: 'Organization',
        hint: 'Its slug: acme of buildkite.com/acme.',
        claim: 'organization_slug',
      },
      { name: 'pipeline_slug', label: 'Pipeline', hint: 'Its slug, or a pattern such as api-*.', claim: 'pipeline_slug' },
    ],
    branch: (name) => ({ build_branch: name }),
    pullRequest: null,
    snippet: (host, audience) => `steps:
  - command: |
      buildkite-agent oidc request-token --audience ${audience} \\
        | ${login(host)}`,
  },
  circleci: {
    label: 'CircleCI',
    issuer: (field) => `https://oidc.circleci.com/org/${field('organization_id')}`,
    fields: [
      {
        name: 'organization_id',
        label: 'Id of the organization',
        hint: 'In CircleCI: Organization Settings, Overview.',
        claim: null,
      },
      {
        name: 'project_id',
        label: 'Id of the project',
        hint: 'In CircleCI: Project Settings, Overview.',
        claim: 'oidc.circleci.com/project-id',
      },
    ],
    branch: (name) => ({ 'oidc.circleci.com/vcs-ref': `refs/heads/${name}` }),
    pullRequest: null,
    snippet: (host, audience) => `steps:
  - run: |
      circleci run oidc get --claims '{"aud": "${audience}"}' \\
        | ${login(host)}`,
  },
} as const satisfies Record<string, Platform>;

export type PlatformName = keyof typeof PLATFORMS;

export function platformNamed(name: string | undefined): PlatformName {
  return name !== undefined && Object.hasOwn(PLATFORMS, name) ? (name as PlatformName) : 'github';
}

/** Returns the platform of a rule, recognized by its issuer and claims, or `null` for another platform. */
export function platformOf(issuer: string, claims: object): PlatformName | null {
  if (issuer.startsWith('https://oidc.circleci.com/')) return 'circleci';
  if (issuer === 'https://agent.buildkite.com') return 'buildkite';
  if (issuer === 'https://token.actions.githubusercontent.com') return 'github';
  return 'project_id' in claims ? 'gitlab' : null;
}

interface Wanted {
  repositories: string[];
  /** The branch whose jobs may push. Empty if no job may push. */
  branch: string;
  /** The tags that these jobs may push. Empty for all tags. */
  tags: string[];
  pullRequests: boolean;
}

/** Returns the trust rule that the form describes: all jobs may pull, and those of one branch may push. */
export function ruleOf(name: PlatformName, field: (name: string) => string, wanted: Wanted): NewTrustRule {
  const platform: Platform = PLATFORMS[name];
  const { repositories, branch, tags, pullRequests } = wanted;
  const effect = 'allow';
  const push: Statement = {
    effect,
    actions: ['push', 'retag'],
    repositories,
    ...(tags.length > 0 ? { tags } : {}),
    when: platform.branch(branch),
  };
  const statements: Statement[] = [
    { effect, actions: ['pull'], repositories },
    ...(branch === '' ? [] : [push]),
    ...(pullRequests && platform.pullRequest
      ? [{ effect, actions: ['pull'], repositories, when: platform.pullRequest } as const]
      : []),
  ].map((statement) => ({ ...statement, actions: [...statement.actions] }) as Statement);
  const claims = platform.fields.flatMap(({ name: key, claim }) => (claim === null ? [] : [[claim, field(key)]]));
  return {
    issuer: platform.issuer(field),
    claims: Object.fromEntries(claims),
    statements,
    lifetime: 3600,
    disabled: false,
  } as NewTrustRule;
}
