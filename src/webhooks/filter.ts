/** Which events a subscription hears: by its scope, by what it asks for, and by what its format has words for. Pure. */
import { isAboutRepository, organizationAbout, type RecordedEvent } from '../events/event.ts';
import { attachedTo } from '../oci/attachment.ts';
import { patternList } from '../oci/pattern.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import { EVERY_TYPE, type FormatName } from '../vocabulary/webhooks.ts';
import { FORMATS } from './formats/all.ts';

/** `repository:acme/api`, `organization:acme`, or `registry` for all there is. */
export type Scope = string;
export const REGISTRY: Scope = 'registry';

/** `null` means no restriction. Patterns are those of statements (`oci/pattern.ts`). */
export interface Filter {
  /** `null`: a webhook that was made before types had a default. It hears every type but those that its format must ask for. */
  types: (EventType | typeof EVERY_TYPE)[] | null;
  /** Only events about a repository of one of these names. */
  repositories: string[] | null;
  /** Only events that name one of these tags. */
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
    REGISTRY,
    ...(organization === '' ? [] : [`organization:${organization}`]),
    ...(isAboutRepository(about) ? [`repository:${about}`] : []),
  ];
}

export function hears({ scope, filter, format }: Listener, event: RecordedEvent): boolean {
  const { types, repositories, tags } = filter;
  return (
    scopesOf(event).includes(scope) &&
    // A format that a later version of the registry had: it must not hold up the others.
    Object.hasOwn(FORMATS, format) &&
    FORMATS[format].speaksOf(event.type) &&
    hearsType(types, format, event.type) &&
    (types === null || types.includes(EVERY_TYPE) || tags !== null || !isOfAttachedTag(event)) &&
    (repositories === null || (isAboutRepository(event.about) && patternList(repositories).matches(event.about))) &&
    (tags === null || namesOneOf(tags, event))
  );
}

/**
 * A signature, an attestation, an SBOM or a list of referrers is no image: what deploys images does not run on its tag. Those hear
 * of it that listen to every type, or whose filter of tags lets it through. An image may be tagged with its own digest.
 */
function isOfAttachedTag({ target: { tag, digest } }: RecordedEvent): boolean {
  const subject = typeof tag === 'string' ? attachedTo(tag) : null;
  return subject !== null && !(typeof digest === 'string' && digest.startsWith(subject));
}

/** An event about a whole repository names its tags. Where there are more than it has room for, one of them may be meant. */
function namesOneOf(patterns: string[], { target: { tag, tags, hasMoreTags } }: RecordedEvent): boolean {
  const named = [tag, ...(Array.isArray(tags) ? tags : [])].filter((one) => typeof one === 'string');
  const wanted = patternList(patterns);
  return hasMoreTags === true || named.some((one) => wanted.matches(one));
}

function hearsType(types: Filter['types'], format: FormatName, type: EventType): boolean {
  if (types === null) return !FORMATS[format].onlyIfNamed.includes(type);
  return types.includes(EVERY_TYPE) || types.includes(type);
}

/** What a webhook hears that names no types: pushes, so that a receiver that deploys does not run on anything else. */
export function defaultTypes(format: FormatName): EventType[] {
  const pushes: EventType[] = ['tag.created', 'tag.moved', 'tag.pushed'];
  return pushes.filter((type) => !FORMATS[format].onlyIfNamed.includes(type));
}
