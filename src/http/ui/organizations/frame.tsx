/** The frame of all pages of one organization: its name, and the tabs that the reader may open. */
import type { Child, FC } from 'hono/jsx';
import { parseName } from '../../../vocabulary/names.ts';
import { callOf, type RequestContext } from '../../context.ts';
import { Page } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';

/** Returns the organization in the path. */
export function organizationIn(c: RequestContext): string {
  return parseName(c.req.param('organization') ?? '');
}

/** Returns true if the reader may manage the organization. An administrator counts as an owner of every organization. */
export function isOwnerOf(c: RequestContext, organization: string): boolean {
  const { administrator, owns, bounds } = callOf(c).authority;
  return bounds.length === 0 && (administrator || owns.includes(organization));
}

/** The tabs: the last part of the address, the title, and whether only owners see the tab. */
const TABS = [
  ['', 'Repositories', false],
  ['members', 'Members', false],
  ['teams', 'Teams', false],
  ['robots', 'Robots', true],
  ['trust-rules', 'Trust rules', true],
  ['webhooks', 'Webhooks', true],
  ['activity', 'Activity', true],
  ['usage', 'Usage', true],
  ['settings', 'Settings', true],
] as const;

export type OrganizationTab = (typeof TABS)[number][0];

interface FrameProps {
  c: RequestContext;
  organization: string;
  tab: OrganizationTab;
  title?: string | undefined;
  description?: Child;
  actions?: Child;
  json?: string;
  children?: Child;
}

/** A page of an organization. */
export const OrganizationPage: FC<FrameProps> = ({ c, organization, tab, title, description, actions, json, children }) => {
  const isOwner = isOwnerOf(c, organization);
  const page = {
    title: title ?? (tab === '' ? organization : `${tab} of ${organization}`),
    ...(json === undefined ? {} : { json: `/api/v1${organizationAt(organization, json)}` }),
  };
  return (
    <Page c={c} section="organizations" {...page}>
      <header class="subject">
        <h1>
          <a href={organizationAt(organization)}>{organization}</a>
        </h1>
        {actions}
        {description ? <p class="description">{description}</p> : null}
      </header>
      <nav class="tabs" aria-label={organization}>
        {TABS.filter(([, , forOwners]) => !forOwners || isOwner).map(([below, text]) => (
          <a href={organizationAt(organization, below)} aria-current={below === tab ? 'page' : undefined}>
            {text}
          </a>
        ))}
      </nav>
      {children}
    </Page>
  );
};
