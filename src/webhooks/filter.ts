/**
 * Decides which events a webhook receives. This depends on its scope, its filter, and the event types that its payload format
 * supports. In this module, a webhook "hears" an event if the event is delivered to it. This module does no I/O.
 */
import { aboutOf, isAboutRepository, organizationAbout, type RecordedEvent } from '../events/event.ts';
import { attachedTo } from '../oci/attachment.ts';
import { patternList } from '../oci/pattern.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import { EVERY_TYPE, type FormatName } from '../vocabulary/webhooks.ts';
import { FORMATS } from './formats/all.ts';

/** What a webhook is about: `repository:acme/api`, `organization:acme`, or `registry`. */
export type Scope = string;
export const REGISTRY_SCOPE: Scope = 'registry';

/**
 * Returns the organization or user to which a scope belongs: `acme` for `organization:acme` and `repository:acme/api`. Returns
 * the empty string for the scope `registry`.
 */
export function ownerOf(scope: Scope): string {
  return organizationAbout(aboutOf(scope));
}

/**
 * The filter of a webhook. A field that is `null` does not restrict the events. Patterns have the same grammar as in policy
 * statements (`oci/pattern.ts`).
 */
export interface Filter {
  /**
   * The event types. `null` only for a webhook that was created before there were default types. Such a webhook hears all types
   * except those in `onlyIfNamed` of its format.
   */
  types: (EventType | typeof EVERY_TYPE)[] | null;
  /** Only events about a repository whose name matches one of the patterns. */
  repositories: string[] | null;
  /** Only events with a tag that matches one of the patterns. */
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
    // After a downgrade, D1 may contain a payload format that this version does not know. It must not block other webhooks.
    Object.hasOwn(FORMATS, format) &&
    FORMATS[format].speaksOf(event.type) &&
    hearsType(types, format, event.type) &&
    (types === null || types.includes(EVERY_TYPE) || tags !== null || !isOfAttachedTag(event)) &&
    (repositories === null || (isAboutRepository(event.about) && patternList(repositories).matches(event.about))) &&
    (tags === null || namesOneOf(tags, event))
  );
}

/**
 * Returns true if the event is about an attached tag (of a signature, an attestation, an SBOM or a list of referrers). The name
 * of such a tag contains the digest of another manifest. It must not trigger a deployment, so its events are heard only by
 * webhooks for every type, and by webhooks with a matching tag filter. A tag whose name contains the digest of its own image is
 * an ordinary tag.
 */
function isOfAttachedTag({ target: { tag, digest } }: RecordedEvent): boolean {
  const subject = typeof tag === 'string' ? attachedTo(tag) : null;
  return subject !== null && !(typeof digest === 'string' && digest.startsWith(subject));
}

/**
 * Returns true if the event contains a tag that matches. An event about a whole repository contains tags of the repository. If
 * the repository has more tags than the event, one of the others might match, so the result is true.
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
 * Returns the event types of a new webhook whose request names none. These are only pushes, so that no other event triggers a
 * deployment.
 */
export function defaultTypes(format: FormatName): EventType[] {
  const pushes: EventType[] = ['tag.created', 'tag.moved', 'tag.pushed'];
  return pushes.filter((type) => !FORMATS[format].onlyIfNamed.includes(type));
}
