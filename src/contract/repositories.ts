/** Schemas of repositories in the management API. */
import * as z from 'zod';
import { PAGE_QUERY } from './pages.ts';

/** The maximum number of characters of a description. Docker Hub has the same limit. */
const DESCRIPTION_MAX = 100;
const OVERVIEW_MAX = 100_000;

export const visibility = z
  .enum(['private', 'public'])
  .describe('`public`: everybody may pull, without logging in. It is stored as a statement in the policy of the repository');

export const repositoryChange = z.strictObject({
  visibility: z.optional(visibility),
  description: z.optional(z.string().max(DESCRIPTION_MAX)),
  overview: z.optional(z.string().max(OVERVIEW_MAX)).describe('Markdown'),
});

export const repositoryQuery = z.strictObject({
  ...PAGE_QUERY,
  search: z.optional(z.string().max(255)).describe('Part of the name or of the description'),
  namespace: z.optional(z.string().max(64)).describe('Only repositories of this organization or user'),
  visibility: z.optional(visibility).describe('Only public or private ones. A page can then be short'),
});

export const repositoryDeletion = z.strictObject({
  force: z.optional(z.enum(['true', 'false'])).describe('`true`: deletes the repository although it has images'),
});
