/** The repository, the organization or the registry that a page of webhooks or activity is about (a "place"). */
import type { Child, FC } from 'hono/jsx';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { REGISTRY_SCOPE, type Scope } from '../../../app/subscriptions.ts';
import { parseRepositoryName } from '../../../oci/name.ts';
import { nameOf } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { OrganizationPage, organizationIn } from '../organizations/frame.tsx';
import { Page } from '../page.tsx';
import { organizationAt, repositoryAt } from '../parts/addresses.ts';
import { RepositoryPage } from '../repositories/frame.tsx';

export interface Place {
  scope: Scope;
  /** The name of the repository or organization, or the empty string for the registry. */
  name: string;
  /** The repository, or `null` if the place is an organization or the registry. */
  repository: Repository | null;
}

type Setter = { set: <K extends keyof AppEnv['Variables']>(key: K, value: AppEnv['Variables'][K]) => void };

/** Returns the scope in the path of the page. */
export function scopeIn(c: RequestContext): Scope {
  if (c.var.repository !== undefined) return `repository:${c.var.repository}`;
  return c.req.param('organization') === undefined ? REGISTRY_SCOPE : `organization:${organizationIn(c)}`;
}

/** Reads the data that the frame of the page shows. */
export async function placeOf(c: RequestContext & Setter, scope = scopeIn(c)): Promise<Place> {
  if (scope === REGISTRY_SCOPE) return { scope, name: '', repository: null };
  const name = nameOf(scope);
  if (!scope.startsWith('repository:')) return { scope, name, repository: null };
  c.set('repository', parseRepositoryName(name));
  return { scope, name, repository: await getRepository(callOf(c), parseRepositoryName(name)) };
}

/** Returns the path of a page of the place, such as its webhooks. The management API has the same path after `/api/v1`. */
export function placeAt({ scope, name }: Pick<Place, 'scope' | 'name'>, below: string): string {
  if (scope === REGISTRY_SCOPE) return `/${below}`;
  return scope.startsWith('repository:') ? repositoryAt(name, below) : organizationAt(name, below);
}

interface PlacePageProps {
  c: RequestContext;
  place: Place;
  tab: 'webhooks' | 'activity';
  title: string;
  json?: string;
  children?: Child;
}

/** A page in the frame of the repository or organization. A page of the registry has its title as heading. */
export const PlacePage: FC<PlacePageProps> = ({ c, place, tab, title, json, children }) => {
  const { name, repository } = place;
  const about = { c, tab, title: name === '' ? title : `${title} · ${name}` };
  const address = json === undefined ? {} : { json };
  if (repository !== null) {
    return (
      <RepositoryPage {...about} {...address} repository={repository}>
        {children}
      </RepositoryPage>
    );
  }
  if (name !== '') {
    return (
      <OrganizationPage {...about} organization={name}>
        {children}
      </OrganizationPage>
    );
  }
  return (
    <Page {...about} {...address} {...(tab === 'activity' ? { section: tab } : {})}>
      <header class="subject">
        <h1>{title}</h1>
      </header>
      {children}
    </Page>
  );
};
