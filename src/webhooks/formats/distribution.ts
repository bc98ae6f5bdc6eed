/**
 * The format of notifications of CNCF Distribution (distribution.github.io, "Work with notifications";
 * `notifications/event.go`). Keel and GitLab support it. A notification is a list of events; here it always contains one event.
 */
import type { RecordedEvent } from '../../events/event.ts';
import type { EventType } from '../../vocabulary/event-types.ts';
import {
  type Format,
  numberOf,
  type Occurrence,
  operatorOf,
  pushShownFor,
  registryHost,
  SHOWN_AS_PUSH,
  textField,
  timestampOf,
  uuidOf,
} from './format.ts';

type Action = 'push' | 'mount' | 'delete';

const ACTIONS: Partial<Record<EventType, Action>> = {
  'tag.created': 'push',
  'tag.moved': 'push',
  'tag.pushed': 'push',
  'tag.restored': 'push',
  'manifest.pushed': 'push',
  'blob.mounted': 'mount',
  'tag.deleted': 'delete',
  'manifest.deleted': 'delete',
  'blob.deleted': 'delete',
  // The target contains only the name of the repository, as in Distribution (`RepoDeleted` in its package `notifications`).
  'repository.deleted': 'delete',
};

/** The HTTP method of the request that causes each action. */
const METHODS: Record<Action, string> = { push: 'PUT', mount: 'POST', delete: 'DELETE' };

export const distribution: Format = {
  contentType: 'application/vnd.docker.distribution.events.v2+json',
  needsFacts: false,
  speaksOf: (type) => type in ACTIONS,
  onlyIfNamed: SHOWN_AS_PUSH,
  render(occurrence) {
    const event = pushShownFor(occurrence.event);
    const action = ACTIONS[event.type] ?? 'push';
    const host = registryHost(occurrence);
    const notification = {
      id: uuidOf(event),
      timestamp: timestampOf(event),
      action,
      target: targetOf(action, { ...occurrence, event }),
      // Keel takes the host of the image from this field. The other data about the request are not recorded in the event.
      request: { id: '', host, method: METHODS[action], useragent: '' },
      actor: { name: operatorOf(event) },
      source: { addr: host },
    };
    return JSON.stringify({ events: [notification] });
  },
};

function targetOf(action: Action, { event, origin }: Pick<Occurrence, 'event' | 'origin'>): Record<string, unknown> {
  const repository = event.about;
  const [tag, digest] = [textField(event, 'tag'), textField(event, 'digest')];
  // If only the tag was deleted, the digest is left out, because receivers would conclude that the manifest was deleted.
  if (action === 'delete') return tag === undefined ? { digest, repository } : { repository, tag };
  const base = `${origin}/v2/${repository}`;
  if (action === 'mount') {
    const fromRepository = textField(event, 'from');
    return { mediaType: 'application/octet-stream', digest, repository, fromRepository, url: `${base}/blobs/${digest}` };
  }
  return { ...descriptorOf(event), repository, url: `${base}/manifests/${digest}`, tag };
}

/**
 * Returns the descriptor of the manifest. It contains the size twice, because older receivers read `length` instead of `size`.
 */
function descriptorOf(event: RecordedEvent): Record<string, unknown> {
  const size = numberOf(event, 'size');
  return { mediaType: textField(event, 'mediaType'), digest: textField(event, 'digest'), size, length: size };
}
