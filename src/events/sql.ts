/**
 * SQL with named parameters. D1 has only numbered parameters, but the numbers in an SQL fragment depend on the statement that
 * contains it. So each `:name` gets its number when a statement is prepared. Values that the statement does not use are
 * ignored.
 */
/**
 * The values of parameters, by name. A boolean is bound as 1 or 0, because SQLite has no booleans. A list is bound as JSON, for
 * `json_each`.
 */
export type Parameters = Readonly<Record<string, string | number | boolean | null | readonly unknown[]>>;

interface Numbered {
  text: string;
  names: string[];
}

/** A cache of statements with numbered parameters. The key is the text with named parameters, which is usually a constant. */
const numbered = new Map<string, Numbered>();
const NUMBERED_MAX = 2000;
/** Matches a quoted text or a parameter. Within a quoted text, a colon does not begin a parameter. */
const QUOTED_OR_PARAMETER = /'(?:[^']|'')*'|:([a-z]\w*)/gi;

/** Prepares a statement with its values. @throws Error if a parameter has no value, which is a programming error */
export function prepare(
  env: { DB: Pick<D1Database, 'prepare'> },
  sql: string,
  parameters: Parameters = {},
): D1PreparedStatement {
  const { text, names } = numbersIn(sql);
  const statement = env.DB.prepare(text);
  return names.length === 0 ? statement : statement.bind(...names.map((name) => bound(name, parameters)));
}

function numbersIn(sql: string): Numbered {
  const known = numbered.get(sql);
  if (known) return known;
  const names: string[] = [];
  const text = sql.replaceAll(QUOTED_OR_PARAMETER, (found, name?: string) => {
    if (name === undefined) return found;
    if (!names.includes(name)) names.push(name);
    return `?${names.indexOf(name) + 1}`;
  });
  if (numbered.size >= NUMBERED_MAX) numbered.clear();
  numbered.set(sql, { text, names });
  return { text, names };
}

function bound(name: string, parameters: Parameters): string | number | null {
  const value = parameters[name];
  if (value === undefined) throw new Error(`the SQL names :${name}, and no value of that name is given`);
  if (typeof value === 'boolean') return Number(value);
  return Array.isArray(value) ? JSON.stringify(value) : (value as string | number | null);
}
