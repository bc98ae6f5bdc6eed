/** Keyset pagination: a page starts after a key, so rows that are added or deleted meanwhile neither repeat nor hide others. */

export interface PageQuery {
  /** The last key of the page before, '' for the first page. */
  after: string;
  limit: number;
}

export interface Page<T> {
  items: T[];
  more: boolean;
}

/** @param rows `limit + 1` of them at most: the extra row tells that there are more */
export function pageOf<T>(rows: T[], limit: number): Page<T> {
  return { items: rows.slice(0, limit), more: rows.length > limit };
}
