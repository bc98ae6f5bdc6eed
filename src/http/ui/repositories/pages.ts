/** The pages of repositories. A page whose address has a fixed part comes before the page of a repository. */
import { aboutPages } from './about.tsx';
import { commentPages } from './comments.tsx';
import { repositoryListPages } from './list.tsx';
import { newRepositoryPages } from './new.tsx';
import { settingsPages } from './settings.tsx';
import { tagPages } from './tags.tsx';

export const repositoryPages = [repositoryListPages, newRepositoryPages, aboutPages, commentPages, settingsPages, tagPages];
