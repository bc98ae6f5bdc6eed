/** Schemas of the trash in the management API: deleted tags, manifests and repositories. */
import * as z from 'zod';
import { PAGE_QUERY } from './pages.ts';

export const trashQuery = z.strictObject(PAGE_QUERY);
