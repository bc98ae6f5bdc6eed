/**
 * Keyset pagination: a page begins after the last key of the previous page. Rows that are added or deleted between two requests
 * therefore cause no duplicates and no gaps.
 */

export interface PageQuery {
  /** The last key of the previous page, or the empty string for the first page. */
  after: string;
  limit: number;
}

export interface Page<T> {
  items: T[];
  more: boolean;
}

/**
 * Makes a page from the rows that a query found.
 * @param rows up to `limit + 1` rows. The extra row shows that there is another page
 */
export function pageOf<T>(rows: T[], limit: number): Page<T> {
  return { items: rows.slice(0, limit), more: rows.length > limit };
}
