/** Keyset paging: a page starts after a key, so what is added or deleted meanwhile neither repeats nor hides the rest. */

export interface PageQuery {
  /** The last key of the page before, '' for the first page. */
  after: string;
  limit: number;
}

export interface Page<T> {
  items: T[];
  more: boolean;
}

/** From `limit + 1` rows: the extra one only says that there is more. */
export function pageOf<T>(rows: T[], limit: number): Page<T> {
  return { items: rows.slice(0, limit), more: rows.length > limit };
}
