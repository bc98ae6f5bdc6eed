/**
 * Harbor's payload format "Default" for pushed and deleted artifacts (goharbor.io/docs, "Configure Webhook Notifications";
 * Harbor's `src/pkg/notifier/model/event.go`).
 */
import type { EventType } from '../../vocabulary/event-types.ts';
import {
  type Format,
  type Occurrence,
  operatorOf,
  pushShownFor,
  registryHost,
  SHOWN_AS_PUSH,
  splitName,
  tagsOf,
  textField,
} from './format.ts';

const TYPES: Partial<Record<EventType, 'PUSH_ARTIFACT' | 'DELETE_ARTIFACT'>> = {
  'tag.created': 'PUSH_ARTIFACT',
  'tag.moved': 'PUSH_ARTIFACT',
  'tag.pushed': 'PUSH_ARTIFACT',
  'tag.restored': 'PUSH_ARTIFACT',
  'manifest.pushed': 'PUSH_ARTIFACT',
  'tag.deleted': 'DELETE_ARTIFACT',
  'manifest.deleted': 'DELETE_ARTIFACT',
  'repository.deleted': 'DELETE_ARTIFACT',
};

export const harbor: Format = {
  contentType: 'application/json',
  needsFacts: true,
  speaksOf: (type) => type in TYPES,
  onlyIfNamed: SHOWN_AS_PUSH,
  render({ event: happened, facts, origin }) {
    const event = pushShownFor(happened);
    return JSON.stringify({
      type: TYPES[event.type] ?? 'PUSH_ARTIFACT',
      occur_at: event.at,
      operator: operatorOf(event),
      event_data: {
        resources: resourcesOf({ event, origin }),
        repository: {
          // Left out for a deleted repository, as in Harbor's own payload.
          date_created: facts?.createdAt,
          ...splitName(event),
          repo_full_name: event.about,
          repo_type: facts?.isPublic ? 'public' : 'private',
        },
      },
    });
  },
};

/** Returns one resource for an image or a tag. For a deleted repository, it returns one resource for each of its tags. */
function resourcesOf({ event, origin }: Pick<Occurrence, 'event' | 'origin'>): Record<string, unknown>[] {
  if (event.type !== 'repository.deleted') return [resourceOf({ event, origin })];
  const repository = `${registryHost({ origin })}/${event.about}`;
  return tagsOf(event).map((tag) => ({ tag, resource_url: `${repository}:${tag}` }));
}

/** Returns the resource of an image or a tag. As in Harbor, the field `tag` contains the digest if there is no tag. */
function resourceOf({ event, origin }: Pick<Occurrence, 'event' | 'origin'>): Record<string, unknown> {
  const [tag, digest] = [textField(event, 'tag'), textField(event, 'digest')];
  const repository = `${registryHost({ origin })}/${event.about}`;
  if (tag === undefined) return { digest, tag: digest, resource_url: `${repository}@${digest}` };
  const resource = { tag, resource_url: `${repository}:${tag}` };
  // Harbor has no type for the deletion of a tag. A digest here would mean that the artifact itself was deleted.
  return event.type === 'tag.deleted' ? resource : { digest, ...resource };
}
