/** Shows how to pull an image with each client that supports it. */
import type { FC } from 'hono/jsx';
import { hostOf, repositoryIn } from '../../context.ts';
import { platformText } from '../parts/platform.ts';
import { type PullCommand, pullCommands } from '../parts/pull-commands.ts';
import { Command } from '../parts/text.tsx';
import type { ImageProps } from './props.ts';

export const Pull: FC<ImageProps> = ({ c, image, reference, platform }) => {
  const isChosen = c.req.query('platform') !== undefined && platform !== null;
  const { byTag, byDigest } = pullCommands({
    ...{ host: hostOf(c), repository: repositoryIn(c) },
    ...{ tag: reference.tag ?? null, digest: image.digest, facts: image },
    platform: isChosen ? platformText(platform) : null,
  });
  const others = [...byTag.slice(1), ...byDigest.slice(1)];
  return (
    <section class="panel" aria-labelledby="pull">
      <h3 id="pull">Pull</h3>
      <First title="By tag: what the tag names at that time" commands={byTag} />
      <First title="By digest: always this image" commands={byDigest} />
      {others.length === 0 ? null : (
        <details>
          <summary>With {listed([...new Set(others.map(({ client }) => client))])}</summary>
          {others.map(({ client, command }) => (
            <Command command={command} label={`Copy the command for ${client}`} />
          ))}
        </details>
      )}
    </section>
  );
};

function First({ title, commands: [first] }: { title: string; commands: PullCommand[] }) {
  if (first === undefined) return null;
  return (
    <>
      <p class="hint">{title}</p>
      <Command command={first.command} />
    </>
  );
}

/** Returns for example `podman, crane or oras`. */
function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
