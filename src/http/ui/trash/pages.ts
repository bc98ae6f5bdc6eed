/** The pages of the trash. */
import { deletedRepositoryPages } from './repositories.tsx';
import { repositoryTrashPages } from './repository.tsx';

export const trashPages = [deletedRepositoryPages, repositoryTrashPages];
