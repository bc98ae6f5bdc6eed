/**
 * Compares two images of a repository: what somebody must pull who has the first one, what is configured differently, and which
 * files differ.
 */

import { listTagDetails } from '../../../app/images.ts';
import { compareFilesOf, type FileComparison } from '../../../app/layer-files.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { parseReferenceToRead } from '../../../oci/reference.ts';
import { isRefusal, type Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { sentence } from '../parts/form.tsx';
import { platformText } from '../parts/platform.ts';
import { Foreign } from '../parts/text.tsx';
import { statusOf } from '../refused.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';
import { Comparison } from './comparison.tsx';
import { FileChanges } from './file-changes.tsx';
import { type ReadImage, readImage } from './read.ts';

export const comparePages = new Hono<AppEnv>().get('/repositories/:name{.+}/-/compare', async (c) => {
  const [call, name, wanted] = [callOf(c), repositoryIn(c), wantedIn(c)];
  const [repository, from, to, tags] = await Promise.all([
    getRepository(call, name),
    readSide(c, wanted.from, wanted.platform),
    readSide(c, wanted.to, wanted.platform),
    // The newest tags are proposed in the form.
    wanted.from === '' || wanted.to === '' ? listTagDetails(call, name, {}) : null,
  ]);
  const [refusal = null] = [from, to].filter((side) => isRefusal(side));
  const proposed = (tags?.items ?? []).map(({ tag }) => tag);
  const files = await readFiles(c, from, to);
  const page = <ComparePage {...{ c, repository, wanted, from, to, files, proposed }} />;
  return render(c, page, refusal === null ? 200 : statusOf(refusal));
});

interface Wanted {
  from: string;
  to: string;
  platform: string;
  /** A part of the paths of files. */
  filter: string;
}

/** Returns the images to compare. The list of tags sends the selected tags; the first one is the newer one. */
function wantedIn(c: RequestContext): Wanted {
  const [newer = '', older = ''] = c.req.queries('tag') ?? [];
  const text = (name: string) => c.req.query(name)?.trim() ?? '';
  return { from: text('from') || older, to: text('to') || newer, platform: text('platform'), filter: text('filter') };
}

/** Returns one image, the refusal to read it, or `null` if no image was named. */
async function readSide(c: RequestContext, named: string, platform: string): Promise<Side> {
  if (named === '') return null;
  try {
    return await readImage(c, parseReferenceToRead(named), platform);
  } catch (error) {
    if (isRefusal(error, 'manifest-unknown', 'digest-invalid')) return error;
    throw error;
  }
}

/** The files are compared if both are images, from the lists that are there; `files=read` reads the others. */
async function readFiles(c: RequestContext, from: Side, to: Side): Promise<FileComparison | null> {
  if (from === null || to === null || isRefusal(from) || isRefusal(to)) return null;
  const [before, after] = [partOf(from), partOf(to)];
  if (before?.kind !== 'image' || after?.kind !== 'image' || before.digest === after.digest) return null;
  const read = c.req.query('files') === 'read';
  return compareFilesOf(callOf(c), repositoryIn(c), { from: before, to: after }, { read });
}

type Side = ReadImage | Refusal | null;

interface CompareProps {
  c: RequestContext;
  repository: Repository;
  wanted: Wanted;
  from: Side;
  to: Side;
  files: FileComparison | null;
  proposed: string[];
}

function ComparePage(props: CompareProps) {
  const { c, repository, wanted, from, to, files } = props;
  const refusals = [from, to].filter((side) => isRefusal(side));
  const isWhole = from !== null && to !== null && !isRefusal(from) && !isRefusal(to);
  return (
    <RepositoryPage
      c={c}
      repository={repository}
      tab=""
      title={`Compare ${wanted.from} and ${wanted.to} · ${repository.name}`}
      {...(files ? { json: withQuery(`/api/v1/repositories/${repository.name}/-/file-changes`, digestsOf(from, to)) } : {})}
    >
      <h2>Compare two images</h2>
      <CompareForm {...props} />
      {refusals.map(({ message }) => (
        <div class="notice bad" role="alert">
          <p>
            <Foreign text={sentence(message)} />
          </p>
        </div>
      ))}
      {isWhole ? <Both name={repository.name} {...{ wanted, from, to, files }} /> : null}
    </RepositoryPage>
  );
}

/** The images whose files are compared. */
function digestsOf(from: Side, to: Side): Record<string, string | undefined> {
  const digest = (side: Side) => (side === null || isRefusal(side) ? undefined : partOf(side)?.digest);
  return { from: digest(from), to: digest(to) };
}

/** Returns the platforms that both images have, or those of the only index if just one image has several. */
function platformsOf(sides: readonly CompareProps['from'][]): string[] {
  const lists = sides.flatMap((side) =>
    side === null || isRefusal(side) || side.image.kind !== 'index' ? [] : [(side.image.platforms ?? []).map(platformText)],
  );
  const [first = [], second] = lists;
  return [...new Set(first.filter((text) => second === undefined || second.includes(text)))];
}

function CompareForm({ repository: { name }, wanted, from, to, proposed }: CompareProps) {
  const path = repositoryAt(name, 'compare');
  const platforms = platformsOf([from, to]);
  const chosen = [from, to].map((side) => (side === null || isRefusal(side) ? null : side.platform)).find(Boolean);
  return (
    <form class="filters" action={path}>
      <SideField name="from" label="From" value={wanted.from} />
      <SideField name="to" label="To" value={wanted.to} />
      <datalist id="proposed">
        {proposed.map((tag) => (
          <option value={tag} />
        ))}
      </datalist>
      {platforms.length < 2 ? null : (
        <label>
          Platform
          <select name="platform">
            {platforms.map((text) => (
              <option value={text} selected={chosen ? text === platformText(chosen) : false}>
                {text}
              </option>
            ))}
          </select>
        </label>
      )}
      <button type="submit" class="main">
        Compare
      </button>
      {wanted.from === '' || wanted.to === '' ? null : (
        <a href={withQuery(path, { from: wanted.to, to: wanted.from, platform: wanted.platform })}>Swap</a>
      )}
    </form>
  );
}

/** The maximum number of characters of a tag or digest in the form. A digest is longer than a tag. */
const REFERENCE_MAX = 140;

function SideField({ name, label, value }: { name: string; label: string; value: string }) {
  return (
    <label>
      {label}
      <input
        name={name}
        value={value}
        class="mono"
        list="proposed"
        maxlength={REFERENCE_MAX}
        autocomplete="off"
        spellcheck={false}
        placeholder="a tag or a digest"
        required
      />
    </label>
  );
}

interface BothProps {
  name: string;
  wanted: Wanted;
  from: ReadImage;
  to: ReadImage;
  files: FileComparison | null;
}

function Both({ name, wanted, from, to, files }: BothProps) {
  const [before, after] = [partOf(from), partOf(to)];
  if (before === null || after === null) {
    return <p>{before === null ? wanted.from : wanted.to} has no image for this platform.</p>;
  }
  if (before.digest === after.digest) return <p>Both are the same image.</p>;
  const names = { from: shortName(wanted.from), to: shortName(wanted.to) };
  const { filter, ...query } = wanted;
  return (
    <>
      <Comparison repository={name} names={names} from={before} to={after} />
      {files === null ? null : <FileChanges {...{ repository: name, query, names, filter, comparison: files }} />}
    </>
  );
}

function partOf({ image, part }: ReadImage): ReadImage['image'] | null {
  return image.kind === 'index' ? part : image;
}

/** The maximum number of characters of a digest, and of a tag, in a heading. */
const SHORT = 19;
const TAG_MAX = 30;

function shortName(reference: string): string {
  if (reference.includes(':')) return reference.slice(0, SHORT);
  return reference.length > TAG_MAX ? `${reference.slice(0, TAG_MAX - 1)}…` : reference;
}
