/** The page of one trust rule: which jobs it admits, what they may do, and a workflow that uses it. */

import { deleteTrustRule, getTrustRule, putTrustRule, ruleSubject, type TrustRule } from '../../../app/trust-rules.ts';
import type { NewTrustRule } from '../../../contract/trust-rules.ts';
import { parseStrictJson } from '../../../oci/json.ts';
import { parseName } from '../../../vocabulary/names.ts';
import { Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, hostOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, readForm, requireConfirmed, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { ActionForm, ConfirmName, Refusals, type Refused, TextArea } from '../parts/form.tsx';
import { Chip, Command, Foreign, Principal } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { StatementText } from '../rights.tsx';
import { PLATFORMS, platformOf } from './platforms.ts';
import { ownerIn, RulesPage, ruleAt, ruleName, rulesAt } from './rules-frame.tsx';
import { conditionsText, PlatformText } from './trust-rules.tsx';

const OF_ORGANIZATION = '/organizations/:organization/trust-rules/:rule';

export const trustRulePages = new Hono<AppEnv>()
  .get('/trust-rules/:rule', (c) => show(c))
  .post('/trust-rules/:rule', (c) => save(c))
  .post('/trust-rules/:rule/deletion', (c) => remove(c))
  .get(OF_ORGANIZATION, (c) => show(c))
  .post(OF_ORGANIZATION, (c) => save(c))
  .post(`${OF_ORGANIZATION}/deletion`, (c) => remove(c));

async function show(c: RequestContext): Promise<Response> {
  return render(c, <Rule c={c} rule={await getTrustRule(callOf(c), subjectIn(c))} />);
}

async function save(c: RequestContext): Promise<Response> {
  const form = await readForm(c);
  const rule = await getTrustRule(callOf(c), subjectIn(c));
  const outcome = await tried(form, () => {
    const wanted = form.has('rule') ? ruleOfJson(form) : { ...sentRule(rule), disabled: form.has('disabled') };
    return putTrustRule(callOf(c), rule.subject, wanted, versionIn(form));
  });
  if ('done' in outcome) return seeOther(ruleAt(rule.subject), 'saved');
  return render(c, <Rule c={c} rule={rule} saving={outcome.refused} />, statusOf(outcome.refused.refusal));
}

async function remove(c: RequestContext): Promise<Response> {
  const form = await readForm(c);
  const rule = await getTrustRule(callOf(c), subjectIn(c));
  const outcome = await tried(form, async () => {
    requireConfirmed(form, ruleName(rule.subject));
    await deleteTrustRule(callOf(c), rule.subject, versionIn(form));
  });
  if ('done' in outcome) return seeOther(rulesAt(ownerIn(c)), 'deleted');
  return render(c, <Rule c={c} rule={rule} deletion={outcome.refused} />, statusOf(outcome.refused.refusal));
}

function subjectIn(c: RequestContext): string {
  return ruleSubject(ownerIn(c), parseName(c.req.param('rule') ?? ''));
}

/** Returns a rule in the form in which it can be saved again. */
function sentRule({ issuer, audience, claims, statements, description, lifetime, disabled }: TrustRule): NewTrustRule {
  const sent = statements.map(({ principals: _, ...statement }) => statement);
  return { issuer, audience, description, claims, statements: sent, lifetime, disabled } as NewTrustRule;
}

/** Reads a rule from JSON. The operation checks it. @throws request-invalid if the text is no JSON */
function ruleOfJson(form: Form): NewTrustRule {
  try {
    return parseStrictJson(new TextEncoder().encode(form.raw('rule'))).value as NewTrustRule;
  } catch (error) {
    const message = `the rule is not valid JSON: ${(error as Error).message}. Nothing was changed`;
    throw new Refusal('request-invalid', { message });
  }
}

interface RuleProps {
  c: RequestContext;
  rule: TrustRule;
  saving?: Refused;
  deletion?: Refused;
}

function Rule({ c, rule, saving, deletion }: RuleProps) {
  const organization = ownerIn(c);
  const name = ruleName(rule.subject);
  const platform = platformOf(rule.issuer, rule.claims);
  return (
    <RulesPage c={c} organization={organization} title={name} json={`/${name}`}>
      <h2 class="sub">
        Trust rule {name} {rule.disabled ? <Chip tone="bad">disabled</Chip> : null}
      </h2>
      <p class="soft">
        <Foreign text={rule.description} />
      </p>
      <div class="cards wide spaced">
        <Facts rule={rule} />
        {platform === null ? null : (
          <section class="panel">
            <h2>The workflow</h2>
            <p>Paste this into the workflow of {PLATFORMS[platform].label}. No secret is stored there.</p>
            <Command command={PLATFORMS[platform].snippet(hostOf(c), rule.audience)} label="Copy the workflow" />
          </section>
        )}
        <Change rule={rule} saving={saving} deletion={deletion} />
      </div>
    </RulesPage>
  );
}

function Facts({ rule: { subject, issuer, audience, claims, statements, lifetime } }: { rule: TrustRule }) {
  return (
    <section class="panel">
      <h2>Whose jobs</h2>
      <dl class="facts">
        <dt>Platform</dt>
        <dd>
          <PlatformText issuer={issuer} claims={claims} />
        </dd>
        <dt>Jobs with</dt>
        <dd>
          <Foreign text={conditionsText(claims)} />
        </dd>
        <dt>Audience</dt>
        <dd>
          <Foreign text={audience} />
        </dd>
        <dt>A login lasts</dt>
        <dd>{Math.round(lifetime / 60)} minutes</dd>
        <dt>Events say</dt>
        <dd>
          <Principal subject={subject} />
        </dd>
      </dl>
      <h2>What they may do</h2>
      <ul class="lines">
        {statements.map((statement) => (
          <li>
            <StatementText statement={statement} />
            {statement.when ? (
              <span class="soft">
                {' '}
                if <Foreign text={conditionsText(statement.when)} />
              </span>
            ) : null}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Change({ rule, saving, deletion }: { rule: TrustRule; saving: Refused | undefined; deletion: Refused | undefined }) {
  const { subject, disabled } = rule;
  const version = String(rule.version);
  return (
    <section class="panel">
      <h2>Change it</h2>
      <Refusals refused={saving} />
      <p>Every change ends the logins that the rule has admitted.</p>
      <div class="actions spaced">
        <ActionForm
          action={ruleAt(subject)}
          fields={{ version, ...(disabled ? {} : { disabled: 'yes' }) }}
          label={disabled ? 'Enable the rule' : 'Disable the rule'}
          tone={disabled ? 'main' : 'plain'}
        />
      </div>
      <details class="fold spaced" open={Boolean(saving?.value('rule'))}>
        <summary>The rule as JSON</summary>
        <form method="post" action={ruleAt(subject)}>
          <input type="hidden" name="version" value={version} />
          <TextArea
            name="rule"
            label="Rule"
            rows={16}
            mono
            value={JSON.stringify(sentRule(rule), null, 2)}
            hint="docs/ci.md says what claims, conditions and patterns can say."
            refused={saving?.value('rule') ? saving : undefined}
          />
          <button type="submit">Save the rule</button>
        </form>
      </details>
      <details class="fold" open={deletion !== undefined}>
        <summary>Delete the rule</summary>
        <form method="post" action={ruleAt(subject, '/deletion')}>
          <Refusals refused={deletion} />
          <p>Its jobs are refused at once. This cannot be undone.</p>
          <input type="hidden" name="version" value={version} />
          <ConfirmName expected={ruleName(subject)} refused={deletion} />
          <button type="submit" class="danger">
            Delete the rule
          </button>
        </form>
      </details>
    </section>
  );
}
