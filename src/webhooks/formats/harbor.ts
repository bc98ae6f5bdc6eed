/**
 * Harbor's webhooks, payload format "Default" (goharbor.io/docs, "Configure Webhook Notifications"; Harbor's
 * `src/pkg/notifier/model/event.go`): artifacts pushed and deleted.
 */
import type { EventType } from '../../vocabulary/event-types.ts';
import {
  type Format,
  type Occurrence,
  operatorOf,
  pushShownFor,
  registryHost,
  splitName,
  tagsOf,
  textField,
} from './format.ts';

const TYPES: Partial<Record<EventType, 'PUSH_ARTIFACT' | 'DELETE_ARTIFACT'>> = {
  'tag.created': 'PUSH_ARTIFACT',
  'tag.moved': 'PUSH_ARTIFACT',
  'tag.pushed': 'PUSH_ARTIFACT',
  'manifest.pushed': 'PUSH_ARTIFACT',
  'tag.deleted': 'DELETE_ARTIFACT',
  'manifest.deleted': 'DELETE_ARTIFACT',
  'repository.deleted': 'DELETE_ARTIFACT',
};

export const harbor: Format = {
  contentType: 'application/json',
  needsFacts: true,
  speaksOf: (type) => type in TYPES,
  onlyIfNamed: [],
  render({ event: happened, facts, origin }) {
    const event = pushShownFor(happened);
    return JSON.stringify({
      type: TYPES[event.type] ?? 'PUSH_ARTIFACT',
      occur_at: event.at,
      operator: operatorOf(event),
      event_data: {
        resources: resourcesOf({ event, origin }),
        repository: {
          // Harbor leaves it out too if the repository was deleted.
          date_created: facts?.createdAt,
          ...splitName(event),
          repo_full_name: event.about,
          repo_type: facts?.isPublic ? 'public' : 'private',
        },
      },
    });
  },
};

/** One resource, or for a deleted repository one for each of its tags. */
function resourcesOf({ event, origin }: Pick<Occurrence, 'event' | 'origin'>): Record<string, unknown>[] {
  if (event.type !== 'repository.deleted') return [resourceOf({ event, origin })];
  const repository = `${registryHost({ origin })}/${event.about}`;
  return tagsOf(event).map((tag) => ({ tag, resource_url: `${repository}:${tag}` }));
}

/** Like Harbor, an artifact without a tag has its digest in the field `tag`. */
function resourceOf({ event, origin }: Pick<Occurrence, 'event' | 'origin'>): Record<string, unknown> {
  const [tag, digest] = [textField(event, 'tag'), textField(event, 'digest')];
  const repository = `${registryHost({ origin })}/${event.about}`;
  if (tag === undefined) return { digest, tag: digest, resource_url: `${repository}@${digest}` };
  const resource = { tag, resource_url: `${repository}:${tag}` };
  // Only the tag was deleted, for which Harbor has no type. A digest here would say that the artifact was deleted.
  return event.type === 'tag.deleted' ? resource : { digest, ...resource };
}
