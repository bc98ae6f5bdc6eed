/**
 * Docker Hub's payload for a push of a tag (docs.docker.com/docker-hub/repos/manage/webhooks, "Example webhook payload"). It
 * has no field for the registry, so receivers take the repository for one of Docker Hub. Docker Hub posts nothing when a
 * repository is deleted; a webhook that asks for that event gets the same payload without a tag, with the status "Deleted".
 */
import type { EventType } from '../../vocabulary/event-types.ts';
import { type Format, operatorOf, pushShownFor, splitName, textField } from './format.ts';

/** Docker Hub posts every push, even if nothing changes. */
const PUSHES: readonly EventType[] = ['tag.created', 'tag.moved', 'tag.pushed'];

const DELETED: EventType = 'repository.deleted';

export const dockerHub: Format = {
  contentType: 'application/json',
  needsFacts: true,
  speaksOf: (type) => PUSHES.includes(type) || type === DELETED,
  onlyIfNamed: [DELETED],
  render({ event: happened, facts, origin }) {
    const event = pushShownFor(happened);
    const { namespace, name } = splitName(event);
    const url = `${origin}/${event.about}`;
    return JSON.stringify({
      // Nothing listens there, and nothing does at Docker Hub any more. Old receivers call it back, so it has to be an address.
      callback_url: url,
      push_data: { pushed_at: event.at, pusher: operatorOf(event), tag: textField(event, 'tag'), images: [] },
      repository: {
        comment_count: 0,
        // A deleted repository has no facts; it existed when the event happened.
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
