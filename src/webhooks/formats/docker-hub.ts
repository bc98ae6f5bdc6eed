/**
 * Docker Hub's payload for a push of a tag (docs.docker.com/docker-hub/repos/manage/webhooks, "Example webhook payload"). The
 * payload has no field for the registry, so receivers take the repository for one of Docker Hub. Docker Hub sends nothing when
 * a repository is deleted. If the filter of a webhook names that event type, the webhook receives the same payload without a
 * tag and with the status "Deleted".
 */
import type { EventType } from '../../vocabulary/event-types.ts';
import { type Format, operatorOf, pushShownFor, SHOWN_AS_PUSH, splitName, textField } from './format.ts';

/**
 * The event types that are sent as pushes. Docker Hub sends a payload for every push, even if the push changes nothing. It has
 * no payload for restored tags, so none is sent for `tag.restored`.
 */
const PUSHES: readonly EventType[] = ['tag.created', 'tag.moved', 'tag.pushed', ...SHOWN_AS_PUSH];

const DELETED: EventType = 'repository.deleted';

export const dockerHub: Format = {
  contentType: 'application/json',
  needsFacts: true,
  speaksOf: (type) => PUSHES.includes(type) || type === DELETED,
  onlyIfNamed: [DELETED, ...SHOWN_AS_PUSH],
  render({ event: happened, facts, origin }) {
    const event = pushShownFor(happened);
    const { namespace, name } = splitName(event);
    const url = `${origin}/${event.about}`;
    return JSON.stringify({
      // Old receivers send a request to this URL, so it must be valid. Neither Berth nor Docker Hub handles such a request.
      callback_url: url,
      push_data: { pushed_at: event.at, pusher: operatorOf(event), tag: textField(event, 'tag'), images: [] },
      repository: {
        comment_count: 0,
        // The creation time of a deleted repository is not known any more.
        date_created: facts?.createdAt ?? event.at,
        description: facts?.description ?? '',
        dockerfile: '',
        full_description: '',
        is_official: false,
        is_private: !facts?.isPublic,
        is_trusted: false,
        name,
        namespace,
        owner: namespace,
        repo_name: event.about,
        repo_url: url,
        star_count: 0,
        status: event.type === DELETED ? 'Deleted' : 'Active',
      },
    });
  },
};
