/** The page of an organization's trust rules, and the form that creates one for a CI platform. */

import { listTrustRules, putTrustRule, ruleSubject, type TrustRule } from '../../../app/trust-rules.ts';
import { parseName } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, named, readForm } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { Checkbox, Input, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, RowName, Table } from '../parts/table.tsx';
import { Chip, Foreign } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { wordsIn } from '../rights.tsx';
import { PLATFORMS, type PlatformName, platformNamed, platformOf, ruleOf } from './platforms.ts';
import { ownerIn, RulesPage, ruleAt, ruleName, rulesAt } from './rules-frame.tsx';

const PAGE_SIZE = 50;

const OF_ORGANIZATION = '/organizations/:organization/trust-rules';

export const trustRuleListPages = new Hono<AppEnv>()
  .get('/trust-rules', (c) => showList(c))
  .get('/trust-rules/-/new', (c) => showForm(c))
  .post('/trust-rules/-/new', (c) => answerForm(c))
  .get(OF_ORGANIZATION, (c) => showList(c))
  .get(`${OF_ORGANIZATION}/-/new`, (c) => showForm(c))
  .post(`${OF_ORGANIZATION}/-/new`, (c) => answerForm(c));

async function showList(c: RequestContext): Promise<Response> {
  const organization = ownerIn(c);
  const last = c.req.query('last');
  const { items, more } = await listTrustRules(callOf(c), organization, { after: last ?? '', limit: PAGE_SIZE });
  const end = items.at(-1);
  const next = more && end ? ruleName(end.subject) : null;
  return render(c, <Rules c={c} organization={organization} items={items} last={last} next={next} />);
}

function showForm(c: RequestContext): Response {
  return render(c, <NewRule c={c} platform={platformNamed(c.req.query('platform'))} />);
}

async function answerForm(c: RequestContext): Promise<Response> {
  const form = await readForm(c);
  const platform = platformNamed(form.text('platform'));
  const outcome = await tried(form, () => create(c, platform, form));
  if ('done' in outcome) return seeOther(ruleAt(outcome.done.subject), 'created');
  return render(c, <NewRule c={c} platform={platform} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
}

async function create(c: RequestContext, platform: PlatformName, form: Form): Promise<TrustRule> {
  const subject = ruleSubject(ownerIn(c), parseName(form.text('name')));
  const wanted = ruleOf(platform, (name) => form.text(name), {
    repositories: wordsIn(form.raw('repositories')),
    branch: form.text('branch'),
    tags: wordsIn(form.raw('tags')),
    pullRequests: form.has('pull-requests'),
  });
  const save = () => putTrustRule(callOf(c), subject, wanted, 0);
  const taken = 'there is a rule of this name already: nothing was created';
  return (await named('name', taken, save, 'version-mismatch')).rule;
}

interface RulesProps {
  c: RequestContext;
  organization: string;
  items: TrustRule[];
  last: string | undefined;
  next: string | null;
}

const COLUMNS: Column<TrustRule>[] = [
  {
    head: 'Rule',
    cell: ({ subject, description }) => <RowName href={ruleAt(subject)} name={ruleName(subject)} description={description} />,
  },
  { head: 'Platform', cell: ({ issuer, claims }) => <PlatformText issuer={issuer} claims={claims} /> },
  { head: 'Jobs', cell: ({ claims }) => <Foreign text={conditionsText(claims)} /> },
  { head: 'State', cell: ({ disabled }) => (disabled ? <Chip tone="bad">disabled</Chip> : <Chip tone="good">active</Chip>) },
];

export function PlatformText({ issuer, claims }: { issuer: string; claims: object }) {
  const platform = platformOf(issuer, claims);
  return platform === null ? <Foreign text={issuer} /> : <span title={issuer}>{PLATFORMS[platform].label}</span>;
}

/** Returns conditions in words, for example `repository_id 123`. */
export function conditionsText(conditions: Record<string, string | readonly string[]>): string {
  return Object.entries(conditions)
    .map(([claim, value]) => `${claim} ${[value].flat().join(' or ')}`)
    .join(', ');
}

function Rules({ c, organization, items, last, next }: RulesProps) {
  return (
    <RulesPage
      c={c}
      organization={organization}
      json=""
      actions={
        <a class="button main" href={rulesAt(organization, '-/new')}>
          New trust rule
        </a>
      }
    >
      {items.length === 0 ? (
        <Empty title="No trust rules yet">
          <p>With a trust rule, CI jobs of GitHub, GitLab, Buildkite or CircleCI push and pull without a stored secret.</p>
        </Empty>
      ) : (
        <Table caption={`Trust rules of ${organization || 'the registry'}`} columns={COLUMNS} items={items} />
      )}
      <Pager path={rulesAt(organization)} query={{}} last={last} next={next} />
    </RulesPage>
  );
}

interface NewRuleProps {
  c: RequestContext;
  platform: PlatformName;
  refused?: Refused | undefined;
}

function NewRule({ c, platform, refused }: NewRuleProps) {
  const organization = ownerIn(c);
  const path = rulesAt(organization, '-/new');
  return (
    <RulesPage c={c} organization={organization} title="New trust rule">
      <section class="narrow-panel">
        <h2 class="sub">New trust rule</h2>
        <nav class="tabs" aria-label="Platform">
          {Object.entries(PLATFORMS).map(([name, { label }]) => (
            <a href={`${path}?platform=${name}`} aria-current={name === platform ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <form method="post" action={path} class="panel">
          <Refusals refused={refused} />
          <input type="hidden" name="platform" value={platform} />
          <RuleFields organization={organization} platform={platform} refused={refused} />
          <button type="submit" class="main">
            Make trust rule
          </button>
          <p class="hint">The next page shows what to paste into the workflow.</p>
        </form>
      </section>
    </RulesPage>
  );
}

function RuleFields({ organization, platform, refused }: Omit<NewRuleProps, 'c'> & { organization: string }) {
  const { fields, pullRequest } = PLATFORMS[platform];
  return (
    <>
      <Input
        name="name"
        label="Name of the rule"
        hint="Events name it as who pushed."
        value={platform}
        max={64}
        mono
        required
        refused={refused}
      />
      {fields.map((field) => (
        <Input
          name={field.name}
          label={field.label}
          hint={field.hint}
          value={'value' in field ? field.value : ''}
          max={255}
          mono
          required
          refused={refused}
        />
      ))}
      <WhatTheyDo organization={organization} refused={refused} />
      {pullRequest === null ? null : (
        <Checkbox
          name="pull-requests"
          label="Jobs of pull requests pull too"
          hint="Also those that people from outside have opened."
        />
      )}
    </>
  );
}

function WhatTheyDo({ organization, refused }: { organization: string; refused: Refused | undefined }) {
  return (
    <>
      <Input
        name="repositories"
        label="Image repositories"
        hint="Names or patterns, separated by spaces. All jobs pull them."
        value={organization === '' ? '' : `${organization}/*`}
        max={2000}
        mono
        required
        refused={refused}
      />
      <Input
        name="branch"
        label="Branch that pushes"
        hint="Empty: no job pushes."
        value="main"
        max={255}
        mono
        refused={refused}
      />
      <Input
        name="tags"
        label="Tags that it pushes"
        hint="Such as v* main-*. Empty: all tags."
        max={500}
        mono
        refused={refused}
      />
    </>
  );
}
