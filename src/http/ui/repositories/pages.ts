/**
 * The pages of repositories. Pages with a fixed part in their address come before the page of a repository, because its name
 * can be any path.
 */
import { aboutPages } from './about.tsx';
import { commentPages } from './comments.tsx';
import { repositoryListPages } from './list.tsx';
import { newRepositoryPages } from './new.tsx';
import { settingsPages } from './settings.tsx';
import { tagPages } from './tags.tsx';

export const repositoryPages = [repositoryListPages, newRepositoryPages, aboutPages, commentPages, settingsPages, tagPages];
