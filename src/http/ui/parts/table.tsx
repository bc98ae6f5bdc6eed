/** Tables, links to the pages of a list, and the text in place of an empty list. */
import type { Child, FC } from 'hono/jsx';
import { withQuery } from './addresses.ts';
import { Foreign } from './text.tsx';

export interface Column<T> {
  /** The heading of the column. */
  head: string;
  /** `number` aligns the numbers at the right. */
  kind?: 'text' | 'number';
  /** If set, the heading is a link that sorts by this column. */
  sort?: { href: string; order: 'ascending' | 'descending' | 'none' };
  cell: (item: T) => Child;
}

interface TableProps<T> {
  caption: string;
  columns: readonly Column<T>[];
  items: readonly T[];
  /** Returns the classes of a row, for example for a row that belongs to the row above. */
  rowClass?: (item: T) => string | undefined;
}

/** A table with a caption for screen readers. On a narrow screen each row becomes a card that repeats the headings. */
export function Table<T>({ caption, columns, items, rowClass }: TableProps<T>) {
  return (
    <table class="list">
      <caption class="visually-hidden">{caption}</caption>
      <thead>
        <tr>
          {columns.map(({ head, kind, sort }) => (
            <th scope="col" class={kind} aria-sort={sort?.order}>
              {sort ? <a href={sort.href}>{head}</a> : head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {items.map((item) => (
          <tr class={rowClass?.(item)}>
            {columns.map(({ head, kind, cell }) => (
              <td class={kind} data-label={head}>
                {cell(item)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The first cell of a row: the name of a thing as a link to its page, and its description. */
export const RowName: FC<{ href: string; name: string; description: string }> = ({ href, name, description }) => (
  <>
    <a class="strong" href={href} data-row>
      {name}
    </a>
    {description === '' ? null : (
      <span class="soft">
        <Foreign text={description} />
      </span>
    )}
  </>
);

/** Links to the first and the next page of a list. @param query the query of this page without its cursor */
export const Pager: FC<{
  path: string;
  query: Record<string, string | undefined>;
  last: string | undefined;
  next: string | null;
}> = ({ path, query, last, next }) => {
  if (next === null && last === undefined) return null;
  return (
    <nav class="pager" aria-label="Pages">
      {last === undefined ? null : <a href={withQuery(path, query)}>First page</a>}
      {next === null ? null : (
        <a href={withQuery(path, { ...query, last: next })} rel="next">
          Next page
        </a>
      )}
    </nav>
  );
};

/** A text in place of an empty list. */
export const Empty: FC<{ title: string; children?: unknown }> = ({ title, children }) => (
  <div class="empty">
    <h2>{title}</h2>
    {children}
  </div>
);
