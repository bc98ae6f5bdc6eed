/** The names of subjects, under the address that this folder's files import. */
export * from '../vocabulary/names.ts';
