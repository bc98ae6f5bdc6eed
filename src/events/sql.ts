/**
 * SQL with named parameters. D1 has numbered parameters only, and a fragment that is used in several statements cannot know its
 * numbers. So each `:name` gets its number when the statement is prepared. Values that a statement does not name are not bound.
 */
import type { Env } from '../env.ts';

/** Values by name. A boolean becomes 1 or 0, as SQLite has none. A list is bound as JSON, for `json_each(:name)`. */
export type Parameters = Readonly<Record<string, string | number | boolean | null | readonly unknown[]>>;

interface Numbered {
  text: string;
  names: string[];
}

/** Numbered statements by their text. Most texts are constant. */
const numbered = new Map<string, Numbered>();
const NUMBERED_MAX = 2000;
/** A quoted text, in which a colon is no parameter, or a parameter. */
const QUOTED_OR_PARAMETER = /'(?:[^']|'')*'|:([a-z]\w*)/gi;

/** @throws Error if a parameter has no value, which is a bug */
export function prepare(env: Pick<Env, 'DB'>, sql: string, parameters: Parameters = {}): D1PreparedStatement {
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
