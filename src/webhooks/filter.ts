/** Which events a subscription hears: by its scope, by what it asks for, and by what its format has words for. Pure. */
import { type EventType, isAboutRepository, organizationAbout, type RecordedEvent } from '../events/event.ts';
import { matches } from '../oci/pattern.ts';
import { FORMATS, type FormatName } from './formats/all.ts';

/** `repository:acme/api`, `organization:acme`, or `registry` for all there is. */
export type Scope = string;
export const REGISTRY: Scope = 'registry';

/** `null`: all of them. Patterns as statements have them (`oci/pattern.ts`). */
export interface Filter {
  types: EventType[] | null;
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
  const { tag } = event.target;
  return (
    scopesOf(event).includes(scope) &&
    // A format that a later version of the registry had: it must not hold up the others.
    Object.hasOwn(FORMATS, format) &&
    FORMATS[format].speaksOf(event.type) &&
    (types === null || types.includes(event.type)) &&
    (repositories === null || (isAboutRepository(event.about) && repositories.some((one) => matches(one, event.about)))) &&
    (tags === null || (typeof tag === 'string' && tags.some((one) => matches(one, tag))))
  );
}
