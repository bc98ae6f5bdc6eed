/** Words and answers that the descriptions of deletions share. */
import { deletedContent } from '../../../contract/answers/deletions.ts';

export const TRASH = 'What is deleted goes to the trash, from which it can be restored for a while.';
export const DELETED = { 200: { description: 'What was deleted', schema: deletedContent } };

/** Conditions of refusals. */
export const UNKNOWN = 'What is to be deleted does not exist';
export const IMMUTABLE = 'A tag is immutable';
export const DISABLED = 'The registry allows no deletions (`DELETION`)';
export const UNMET = 'The tag, or image, is not as `If-Match` or `If-None-Match` says';
export const HEADER = '`If-Match` or `If-None-Match` is not valid';
