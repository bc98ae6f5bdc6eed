/**
 * The audit log: what happened, who did it and with which key, as far back as it is kept. Who may see what of it is said in one
 * place here.
 */
import { Hono } from 'hono';
import * as z from 'zod';
import type { Authority } from '../../auth/authority.ts';
import { isUnscopedUser } from '../../auth/policy.ts';
import { instant } from '../../contract/fields.ts';
import { PAGE_DEFAULT, PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { isAboutRepository, organizationAbout, type RecordedEvent } from '../../events/event.ts';
import { beginningOf, type Logged, searchEvents } from '../../events/history.ts';
import { isRepositoryName } from '../../oci/name.ts';
import { EVENT_TYPES } from '../../vocabulary/event-types.ts';
import { namespaceOf, parseName } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { loadCallerAuthority } from '../authenticate.ts';
import type { AppEnv, RequestContext } from '../context.ts';
import { answerItems, timeOf } from './answers.ts';
import { asks, requireOwner, requireRight } from './guard.ts';
import { operation } from './operation.ts';
import { secondsOf } from './params.ts';

const query = z
  .strictObject({
    ...PAGE_QUERY,
    last: z.optional(z.string().regex(/^[1-9]\d{0,14}$/, 'is no event')).describe('Where the page before ended'),
    repository: z
      .optional(z.string().refine(isRepositoryName, 'is no repository name'))
      .describe(
        'About this repository, though it may be deleted: for whoever may administer it. What happened before it was made anew is for the owners of its organization',
      ),
    organization: z.optional(z.string().max(64)).describe('About this organization and all its repositories: for its owners'),
    actor: z.optional(z.string().max(255)).describe('Done by `user:…`, `robot:…/…`, `ci:…`, or the `registry` itself'),
    type: z
      .optional(
        z
          .string()
          .max(1000)
          .transform((text) => text.split(','))
          .pipe(z.array(z.enum(EVENT_TYPES))),
      )
      .describe('Of these types, separated by commas'),
    since: z.optional(instant).describe('At this time or later'),
    until: z.optional(instant).describe('Before this time'),
  })
  .refine((sent) => sent.repository === undefined || sent.organization === undefined, 'has one of repository and organization');

export const eventSchema = z.strictObject({
  id: z.int().describe('Grows with every event of the registry'),
  sequence: z.int().describe('Counts the events about one repository, one organization or the registry itself, without a gap'),
  at: z.iso.datetime(),
  type: z.string(),
  repository: z.nullable(z.string()),
  organization: z.nullable(z.string()).describe('Of what is about an organization itself, its people, teams, robots and rules'),
  target: z.record(z.string(), z.unknown()).describe('What happened to what; its fields are those of its type'),
  actor: z.strictObject({ subject: z.string(), key: z.nullable(z.string()).describe('The access key it was done with') }),
});

const loggedSchema = eventSchema.extend({
  address: z
    .optional(z.string())
    .describe(
      'From where it was done, or with `AUDIT_ADDRESSES=hashed` a hash of that: of logins and of requests to the API, for `AUDIT_ADDRESS_DAYS`',
    ),
});

export const events = new Hono<AppEnv>({ strict: false }).get(
  '/events',
  asks('login'),
  operation({
    group: 'Audit log',
    summary: 'What happened',
    description:
      'The newest first. Without a repository or organization: for an administrator, all there is; for others, what they did themselves. A page may be short, and even empty, before the last one: go on until `next` is null.',
    query,
    rowsRead: 4200,
    answers: { 200: { description: 'A page of events', schema: pageSchema(loggedSchema) } },
  }),
  async (c) => {
    const { n = PAGE_DEFAULT, last, repository, organization, type = null, since, until } = c.var.query;
    const search = {
      about: repository ? { exactly: repository } : organization ? { organization: parseName(organization) } : null,
      actor: await visibleActor(c, c.var.authority, c.var.query),
      types: type,
      since: since === undefined ? null : secondsOf(since),
      until: until === undefined ? null : secondsOf(until),
      after: await visibleAfter(c, c.var.authority, repository),
    };
    const { items, next } = await searchEvents(c.env, search, last === undefined ? null : Number(last), n);
    return answerItems(items.map(shownLogged), next === null ? null : String(next), ({ id }) => String(id));
  },
);

/**
 * Whose doings the caller may see of what they ask for; `null`: anybody's.
 * @throws forbidden, and not-found where they may not know of the repository or organization
 */
async function visibleActor(
  c: RequestContext,
  authority: Authority,
  { repository, organization, actor: sent }: z.output<typeof query>,
): Promise<string | null> {
  const actor = sent?.toLowerCase() ?? null;
  if (repository !== undefined) {
    requireRight(c, await loadCallerAuthority(c, c.var.caller.credential, [repository]), 'admin', repository);
    return actor;
  }
  if (organization !== undefined) {
    requireOwner(authority, parseName(organization));
    return actor;
  }
  if (authority.administrator && isUnscopedUser(authority)) return actor;
  // What a key or a job is narrowed to, others of the same name are not.
  if (authority.bounds.length > 0 || authority.credential === 'ci') throw denied('name a repository that you may administer');
  if (actor !== null && actor !== authority.subject) throw denied('what others did is for an administrator');
  return authority.subject;
}

/** Of a repository that was made anew, what happened to the one before it is for those to whom the name belongs. */
async function visibleAfter(c: RequestContext, authority: Authority, repository: string | undefined): Promise<number> {
  if (repository === undefined) return 0;
  const isOwner = authority.administrator || authority.owns.includes(namespaceOf(repository));
  return isOwner && isUnscopedUser(authority) ? 0 : beginningOf(c.env, repository);
}

function denied(message: string): Refusal {
  return new Refusal('forbidden', { message });
}

function shownLogged({ address, ...event }: Logged): z.output<typeof loggedSchema> {
  return { ...shownEvent(event), ...(address === null ? {} : { address }) };
}

export function shownEvent({ id, sequence, at, type, about, target, by }: RecordedEvent): z.output<typeof eventSchema> {
  return {
    id,
    sequence,
    at: timeOf(at),
    type,
    repository: isAboutRepository(about) ? about : null,
    organization: isAboutRepository(about) ? null : organizationAbout(about) || null,
    target,
    actor: { subject: by.subject, key: by.key ?? null },
  };
}
