/** The frame of all pages of one repository: its name, its visibility, and the tabs that the reader may open. */
import type { Child, FC } from 'hono/jsx';
import { may } from '../../../app/access.ts';
import type { Repository } from '../../../app/repositories.ts';
import { callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Page } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import { Chip, Foreign, Icon } from '../parts/text.tsx';

/** What the reader may do in the repository. */
export interface Rights {
  push: boolean;
  delete: boolean;
  admin: boolean;
}

export function rightsIn(c: RequestContext): Rights {
  const { authority } = callOf(c);
  const repository = repositoryIn(c);
  const has = (action: 'push' | 'delete' | 'admin') => may(authority, action, repository);
  return { push: has('push'), delete: has('delete'), admin: has('admin') };
}

/** The tabs: the part of the address after `/-/`, the title, and the right that the tab needs in addition to `pull`. */
const TABS = [
  ['', 'Tags', null],
  ['about', 'About', null],
  ['activity', 'Activity', 'admin'],
  ['lifecycle', 'Lifecycle', null],
  ['webhooks', 'Webhooks', 'admin'],
  ['trash', 'Trash', 'delete'],
  ['permissions', 'Permissions', 'admin'],
  ['settings', 'Settings', 'admin'],
] as const;

export type Tab = (typeof TABS)[number][0];

interface FrameProps {
  c: RequestContext;
  repository: Pick<Repository, 'name' | 'visibility' | 'description' | 'tags'>;
  tab: Tab;
  title?: string;
  json?: string;
  children?: Child;
}

/** A page of a repository. */
export const RepositoryPage: FC<FrameProps> = ({ c, repository, tab, title, json, children }) => {
  const { name, visibility, description } = repository;
  const rights = rightsIn(c);
  const tabs = TABS.filter(([, , right]) => right === null || rights[right]);
  return (
    <Page c={c} title={title ?? name} section="repositories" {...(json === undefined ? {} : { json })}>
      <header class="subject">
        <RepositoryTitle name={name} />
        <Chip tone={visibility === 'public' ? 'good' : 'plain'}>
          {visibility === 'private' ? <Icon name="lock" /> : null}
          {visibility}
        </Chip>
        {description === '' ? null : (
          <p class="description">
            <Foreign text={description} />
          </p>
        )}
      </header>
      <nav class="tabs" aria-label={name}>
        {tabs.map(([below, text]) => (
          <a href={repositoryAt(name, below)} aria-current={below === tab ? 'page' : undefined}>
            {text}
            {below === '' ? <span class="count">{repository.tags.toLocaleString('en')}</span> : null}
          </a>
        ))}
      </nav>
      {children}
    </Page>
  );
};

/** The name of a repository as the heading of its pages. The namespace is a link to its repositories. */
const RepositoryTitle: FC<{ name: string }> = ({ name }) => {
  const [namespace = '', ...rest] = name.split('/');
  return (
    <h1>
      <a href={`/repositories?namespace=${namespace}`}>{namespace}</a>
      <span class="slash">/</span>
      <a href={repositoryAt(name)}>{rest.join('/')}</a>
    </h1>
  );
};
