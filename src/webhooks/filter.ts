/**
 * Decides which events a webhook gets. This depends on its scope, its filter, and the types that its format can express. In
 * this module, a webhook "hears" an event if the event is delivered to it. Pure.
 */
import { aboutOf, isAboutRepository, organizationAbout, type RecordedEvent } from '../events/event.ts';
import { attachedTo } from '../oci/attachment.ts';
import { patternList } from '../oci/pattern.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import { EVERY_TYPE, type FormatName } from '../vocabulary/webhooks.ts';
import { FORMATS } from './formats/all.ts';

/** The part of the registry that a webhook is about: `repository:acme/api`, `organization:acme`, or `registry`. */
export type Scope = string;
export const REGISTRY_SCOPE: Scope = 'registry';

/**
 * Returns the organization or user that a scope belongs to: `acme` for `organization:acme` and `repository:acme/api`. It is
 * empty for the scope `registry`.
 */
export function ownerOf(scope: Scope): string {
  return organizationAbout(aboutOf(scope));
}

/** A field that is `null` does not filter. Patterns have the same grammar as in policy statements (`oci/pattern.ts`). */
export interface Filter {
  /**
   * The types of events. It is `null` only for a webhook that was created before there were default types. Such a webhook hears
   * all types except those in `onlyIfNamed` of its format.
   */
  types: (EventType | typeof EVERY_TYPE)[] | null;
  /** Only events about a repository whose name matches one of the patterns. */
  repositories: string[] | null;
  /** Only events that name a tag that matches one of the patterns. */
  tags: string[] | null;
}

export interface Listener {
  scope: Scope;
  filter: Filter;
  format: FormatName;
}

/** Returns the scopes whose webhooks can hear an event. */
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
    // After a downgrade, the database can contain a format that this version does not know. It must not block other webhooks.
    Object.hasOwn(FORMATS, format) &&
    FORMATS[format].speaksOf(event.type) &&
    hearsType(types, format, event.type) &&
    (types === null || types.includes(EVERY_TYPE) || tags !== null || !isOfAttachedTag(event)) &&
    (repositories === null || (isAboutRepository(event.about) && patternList(repositories).matches(event.about))) &&
    (tags === null || namesOneOf(tags, event))
  );
}

/**
 * Returns true if the event is about the tag of a signature, an attestation, an SBOM or a list of referrers. Such a tag has the
 * digest of another manifest in its name. It must not trigger a deployment, so its events are heard only by webhooks for every
 * type, and by webhooks with a matching tag filter. The tag of an image can have the digest of the image itself in its name.
 */
function isOfAttachedTag({ target: { tag, digest } }: RecordedEvent): boolean {
  const subject = typeof tag === 'string' ? attachedTo(tag) : null;
  return subject !== null && !(typeof digest === 'string' && digest.startsWith(subject));
}

/**
 * Returns true if the event names a tag that matches. An event about a whole repository names the tags of the repository. If
 * there are more tags than the event can name, one of the others could match, so the result is true.
 */
function namesOneOf(patterns: string[], { target: { tag, tags, hasMoreTags } }: RecordedEvent): boolean {
  const named = [tag, ...(Array.isArray(tags) ? tags : [])].filter((one) => typeof one === 'string');
  const wanted = patternList(patterns);
  return hasMoreTags === true || named.some((one) => wanted.matches(one));
}

function hearsType(types: Filter['types'], format: FormatName, type: EventType): boolean {
  if (types === null) return !FORMATS[format].onlyIfNamed.includes(type);
  return types.includes(EVERY_TYPE) || types.includes(type);
}

/**
 * Returns the types of a webhook whose request names none. These are only pushes, so that no other event triggers a deployment.
 */
export function defaultTypes(format: FormatName): EventType[] {
  const pushes: EventType[] = ['tag.created', 'tag.moved', 'tag.pushed'];
  return pushes.filter((type) => !FORMATS[format].onlyIfNamed.includes(type));
}
