/** What all pages of trust rules share: whose rules they are, their addresses, and the frame. */
import type { Child, FC } from 'hono/jsx';
import type { RequestContext } from '../../context.ts';
import { Page } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import { OrganizationPage, organizationIn } from './frame.tsx';

/** The organization in the path; empty on the pages of the registry's own rules. */
export function ownerIn(c: RequestContext): string {
  return c.req.param('organization') === undefined ? '' : organizationIn(c);
}

/** @param organization the owner of the rules; empty for the registry */
export function rulesAt(organization: string, below = ''): string {
  const path = `trust-rules${below === '' ? '' : `/${below}`}`;
  return organization === '' ? `/${path}` : organizationAt(organization, path);
}

export function ruleName(subject: string): string {
  return subject.split(/[:/]/).at(-1) ?? '';
}

/** The page of a rule. @param rule its subject */
export function ruleAt(rule: string, below = ''): string {
  const [, organization = '', name] = /^ci:(?:([^/]+)\/)?(.+)$/.exec(rule) ?? [];
  return rulesAt(organization, `${name}${below}`);
}

interface FrameProps {
  c: RequestContext;
  organization: string;
  title?: string;
  actions?: Child;
  /** What follows `trust-rules` in the address of the page in the API; left out if there is none. */
  json?: string;
  children?: Child;
}

export const RulesPage: FC<FrameProps> = ({ c, organization, title, actions, json, children }) => {
  if (organization !== '') {
    return (
      <OrganizationPage
        {...{ c, organization, title, actions }}
        tab="trust-rules"
        {...(json === undefined ? {} : { json: `trust-rules${json}` })}
      >
        {children}
      </OrganizationPage>
    );
  }
  const address = json === undefined ? {} : { json: `/api/v1/trust-rules${json}` };
  return (
    <Page c={c} title={title ?? 'Trust rules'} {...address}>
      <header class="subject">
        <h1>{title === undefined ? 'Trust rules' : <a href={rulesAt('')}>Trust rules</a>}</h1>
        {actions}
        {title === undefined ? (
          <p class="description">
            Rules of the registry itself: their jobs may use repositories of every organization. Rules for one organization are
            made there, by its owners.
          </p>
        ) : null}
      </header>
      {children}
    </Page>
  );
};
