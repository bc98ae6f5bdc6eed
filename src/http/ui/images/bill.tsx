/** Shows an SBOM: the number of packages, their licences, and a list that can be searched. */
import type { FC } from 'hono/jsx';
import { type BillOfMaterials, countLicenses, type Package } from '../../../oci/bill-of-materials.ts';
import type { RequestContext } from '../../context.ts';
import { withQuery } from '../parts/addresses.ts';
import { type Column, Table } from '../parts/table.tsx';
import { Bar, countText, Foreign } from '../parts/text.tsx';

/** The maximum number of packages, and of licences, that a page lists. */
const PACKAGES_SHOWN = 100;
const LICENSES_SHOWN = 12;
/** The maximum number of characters of a name, and of a search. */
const NAME_MAX = 200;

export const Bill: FC<{ c: RequestContext; bill: BillOfMaterials }> = ({ c, bill }) => {
  const { format, name, packages, isCut } = bill;
  const search = (c.req.query('search') ?? '').trim().slice(0, NAME_MAX);
  const found = packages.filter((item) => matches(item, search.toLowerCase()));
  return (
    <>
      <p>
        {format}
        {name === '' ? '' : ' of '}
        <b>
          <Foreign text={name} max={NAME_MAX} />
        </b>
        : {isCut ? 'more than ' : ''}
        {countText(packages.length, 'package')}.
      </p>
      {packages.length === 0 ? null : <Licenses packages={packages} />}
      {packages.length === 0 ? null : (
        <section aria-labelledby="packages">
          <h3 id="packages">Packages</h3>
          <SearchForm c={c} search={search} />
          <div id="results" data-results>
            {found.length === 0 ? (
              <p class="soft">No package matches.</p>
            ) : (
              <Table caption="Packages" columns={COLUMNS} items={found.slice(0, PACKAGES_SHOWN)} />
            )}
            {found.length > PACKAGES_SHOWN ? (
              <p class="hint">
                The first {PACKAGES_SHOWN} of {found.length.toLocaleString('en')} are shown: search for the others.
              </p>
            ) : null}
          </div>
        </section>
      )}
    </>
  );
};

function matches({ name, version, license }: Package, search: string): boolean {
  return search === '' || [name, version, license].some((text) => text.toLowerCase().includes(search));
}

function SearchForm({ c, search }: { c: RequestContext; search: string }) {
  const content = c.req.query('content');
  return (
    <form class="filters" action={c.req.path} data-filter>
      {content === undefined ? null : <input type="hidden" name="content" value={content} />}
      <label>
        Name, version or licence
        <input name="search" type="search" value={search} maxlength={NAME_MAX} autocomplete="off" data-main-search />
      </label>
      <button type="submit">Search</button>
      {search === '' ? null : <a href={withQuery(c.req.path, { content })}>Show all</a>}
    </form>
  );
}

function Licenses({ packages }: { packages: Package[] }) {
  const counts = countLicenses(packages);
  const most = counts[0]?.[1] ?? 1;
  const more = counts.length - LICENSES_SHOWN;
  return (
    <section aria-labelledby="licenses">
      <h3 id="licenses">
        Licences <span class="soft count">{counts.length}</span>
      </h3>
      <dl class="facts panel counts">
        {counts.slice(0, LICENSES_SHOWN).map(([license, count]) => (
          <>
            <dt>{license === '' ? 'not stated' : <Foreign text={license} max={NAME_MAX} />}</dt>
            <dd class="sized">
              <Bar share={count / most} label={countText(count, 'package')} />
              <span>{count.toLocaleString('en')}</span>
            </dd>
          </>
        ))}
      </dl>
      {more > 0 ? <p class="hint">{countText(more, 'more licence')} in the list of packages.</p> : null}
    </section>
  );
}

const COLUMNS: Column<Package>[] = [
  {
    head: 'Package',
    cell: ({ name }) => (
      <span class="mono">
        <Foreign text={name || 'without a name'} max={NAME_MAX} />
      </span>
    ),
  },
  { head: 'Version', cell: ({ version }) => (version === '' ? '' : <Foreign text={version} max={NAME_MAX} />) },
  {
    head: 'Licence',
    cell: ({ license }) => (license === '' ? <span class="soft">not stated</span> : <Foreign text={license} max={NAME_MAX} />),
  },
];
