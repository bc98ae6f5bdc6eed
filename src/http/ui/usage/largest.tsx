/** The repositories that take the most space, with bars. */
import type { FC } from 'hono/jsx';
import type { LargeRepository } from '../../../app/usage.ts';
import { repositoryAt } from '../parts/addresses.ts';
import { Bar, Bytes, bytesText, countText } from '../parts/text.tsx';

/** The number of repositories that are shown. */
export const LARGEST_SHOWN = 10;

export const Largest: FC<{ repositories: LargeRepository[] }> = ({ repositories }) => {
  const [first] = repositories;
  if (!first) return <p class="soft">There are no repositories.</p>;
  return (
    <ul class="rows panel">
      {repositories.map(({ name, bytes, tags }) => (
        <li>
          <a class="strong" href={repositoryAt(name)} data-row>
            {name}
          </a>
          <a class="hint" href={repositoryAt(name, 'lifecycle')} aria-label={`Lifecycle rules of ${name}`}>
            rules
          </a>
          <span class="soft end">
            {countText(tags, 'tag')}, <Bytes value={bytes} />
          </span>
          <div class="wide">
            <Bar share={first.bytes === 0 ? 0 : bytes / first.bytes} label={`${name}: ${bytesText(bytes)}`} />
          </div>
        </li>
      ))}
    </ul>
  );
};
