/** The pages about who may use a repository. */
import { explainPages } from './explain.tsx';
import { permissionPages as ownPages } from './permissions.tsx';

export const permissionPages = [ownPages, explainPages];
