/** Decides which events a subscription gets: by its scope, its filter, and the types that its format can express. Pure. */
import { aboutOf, isAboutRepository, organizationAbout, type RecordedEvent } from '../events/event.ts';
import { attachedTo } from '../oci/attachment.ts';
import { patternList } from '../oci/pattern.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import { EVERY_TYPE, type FormatName } from '../vocabulary/webhooks.ts';
import { FORMATS } from './formats/all.ts';

/** `repository:acme/api`, `organization:acme`, or `registry` for every event. */
export type Scope = string;
export const REGISTRY_SCOPE: Scope = 'registry';

/** `acme` of `organization:acme` and `repository:acme/api`; empty for what belongs to the registry itself. */
export function ownerOf(scope: Scope): string {
  return organizationAbout(aboutOf(scope));
}

/** `null` means no restriction. Patterns are those of policy statements (`oci/pattern.ts`). */
export interface Filter {
  /**
   * `null`: the webhook was created before types had a default. It hears all types except those in `onlyIfNamed` of its format.
   */
  types: (EventType | typeof EVERY_TYPE)[] | null;
  /** Only events about a repository whose name matches. */
  repositories: string[] | null;
  /** Only events that name a matching tag. */
  tags: string[] | null;
}

export interface Listener {
  scope: Scope;
  filter: Filter;
  format: FormatName;
}

/** The scopes in which an event is heard. */
export function scopesOf({ about }: Pick<RecordedEvent, 'about'>): Scope[] {
  const organization = organizationAbout(about);
  return [
    REGISTRY_SCOPE,
    ...(organization === '' ? [] : [`organization:${organization}`]),
    ...(isAboutRepository(about) ? [`repository:${about}`] : []),
  ];
}

export function hears({ scope, filter, format }: Listener, event: RecordedEvent): boolean {
  const { types, repositories, tags } = filter;
  return (
    scopesOf(event).includes(scope) &&
    // A later version of the registry may have stored another format. It must not block the other webhooks.
    Object.hasOwn(FORMATS, format) &&
    FORMATS[format].speaksOf(event.type) &&
    hearsType(types, format, event.type) &&
    (types === null || types.includes(EVERY_TYPE) || tags !== null || !isOfAttachedTag(event)) &&
    (repositories === null || (isAboutRepository(event.about) && patternList(repositories).matches(event.about))) &&
    (tags === null || namesOneOf(tags, event))
  );
}

/**
 * True if the tag belongs to a signature, an attestation, an SBOM or a list of referrers. Deployments must not be triggered by
 * these, so they are heard only with every type, or with a filter of tags that matches. An image may be tagged with its own
 * digest.
 */
function isOfAttachedTag({ target: { tag, digest } }: RecordedEvent): boolean {
  const subject = typeof tag === 'string' ? attachedTo(tag) : null;
  return subject !== null && !(typeof digest === 'string' && digest.startsWith(subject));
}

/** An event about a whole repository names its tags. If it has more tags than it names, any tag may be among the others. */
function namesOneOf(patterns: string[], { target: { tag, tags, hasMoreTags } }: RecordedEvent): boolean {
  const named = [tag, ...(Array.isArray(tags) ? tags : [])].filter((one) => typeof one === 'string');
  const wanted = patternList(patterns);
  return hasMoreTags === true || named.some((one) => wanted.matches(one));
}

function hearsType(types: Filter['types'], format: FormatName, type: EventType): boolean {
  if (types === null) return !FORMATS[format].onlyIfNamed.includes(type);
  return types.includes(EVERY_TYPE) || types.includes(type);
}

/** The types of a webhook that names none: pushes, so that a receiver that deploys is not triggered by anything else. */
export function defaultTypes(format: FormatName): EventType[] {
  const pushes: EventType[] = ['tag.created', 'tag.moved', 'tag.pushed'];
  return pushes.filter((type) => !FORMATS[format].onlyIfNamed.includes(type));
}
