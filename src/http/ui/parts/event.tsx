/** Shows an event as a plain sentence, with links to the things that it names. */
import type { FC } from 'hono/jsx';
import { type Activity, sentenceOf } from '../../../app/activity.ts';
import { imageAt, repositoryAt, tagAt, webhookAt } from './addresses.ts';

/** The number of characters of a digest in a sentence: `sha256:` and twelve digits. */
const SHORT_DIGEST = 19;

/** The sentence of an event. A name in it is a link if the thing exists, or existed at the time of the event. */
export const Sentence: FC<{ event: Activity }> = ({ event }) => {
  const links = linksOf(event);
  return (
    <span class="sentence">
      {sentenceOf(event).map((part, n) => (n % 2 === 0 ? part : <Name name={part} isActor={n === 1} links={links} />))}
    </span>
  );
};

const Name: FC<{ name: string; isActor: boolean; links: Map<string, string> }> = ({ name, isActor, links }) => {
  const href = links.get(name);
  if (href !== undefined) {
    return (
      <a class="mono" href={href}>
        {name}
      </a>
    );
  }
  if (/^\d+$/.test(name)) return <>{Number(name).toLocaleString('en')}</>;
  if (isActor) return <b>{name === 'registry' ? 'The registry' : name}</b>;
  return <code>{name}</code>;
};

/** Returns the addresses for the names in an event. Things that the event deleted have none. */
function linksOf({ type, repository, target }: Activity): Map<string, string> {
  const { tag, digest, previous, id } = target;
  const links = new Map<string, string>();
  if (repository !== null && type !== 'repository.deleted') links.set(repository, repositoryAt(repository));
  if (type.endsWith('.deleted')) return links;
  if (repository !== null && isText(tag)) links.set(`${repository}:${tag}`, tagAt(repository, tag));
  const images = repository === null || type.startsWith('blob.') ? [] : [digest, previous].filter(isText);
  for (const one of images) links.set(one.slice(0, SHORT_DIGEST), imageAt(repository ?? '', one));
  if (type.startsWith('webhook.') && isText(id)) links.set(id, webhookAt(id));
  return links;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
