/**
 * Remembers in the memory of this isolate the rows that decided on the rights of callers. A push that follows uses them instead
 * of a call of its own, and its batch requires that the database still has the same rows. So no change is ever made with rights
 * that were taken away, and the rights are read as often as before, in the same call as the change.
 */
import type { Assumption } from '../events/batch.ts';
import type { Parameters } from '../events/sql.ts';
import { perDatabase } from '../telemetry.ts';
import type { LoadedRights, RightsRow } from './loaded-rights.ts';

interface Remembered {
  rows: readonly RightsRow[];
  loaded: LoadedRights;
}

/** The maximum number of callers that are remembered, each for certain repositories, and of characters of the rows of each. */
const CALLERS_MAX = 500;
const ROWS_MAX_LENGTH = 16 * 1024;

const memoryOf = perDatabase(() => new Map<string, Remembered>());

/** The parameters of the statement that loads rights which say whose rights they are, and to which repositories. */
interface Question {
  subject: string;
  key: string | null;
  login: string | null;
  repositories: readonly string[];
}

function nameOf({ subject, key, login, repositories }: Question): string {
  return [subject, key, login, ...[...new Set(repositories)].sort()].join(' ');
}

/** Remembers rights. Those of a key that has not been used today are left out, because its row changes after the answer. */
export function rememberRights(env: { DB: D1Database }, question: Question, remembered: Remembered): void {
  const { rows, loaded } = remembered;
  const length = rows.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
  const memory = memoryOf(env);
  const name = nameOf(question);
  memory.delete(name);
  if (length > ROWS_MAX_LENGTH || !loaded.account || loaded.key?.unused) return;
  const [oldest] = memory.keys();
  if (oldest !== undefined && memory.size >= CALLERS_MAX) memory.delete(oldest);
  memory.set(name, remembered);
}

/**
 * Returns remembered rights, and the assumption that they have not changed; `null` if they are not remembered.
 * @param load the statement that loads them, with its parameters
 */
export function recallRights(
  env: { DB: D1Database },
  question: Question,
  load: { sql: string; parameters: Parameters },
): { loaded: LoadedRights; assumption: Assumption } | null {
  const found = memoryOf(env).get(nameOf(question));
  if (!found) return null;
  const rows = found.rows.map(({ n, kind, subject, bytes, data }) => [n, kind, subject, bytes, data]);
  const addTo: Assumption['addTo'] = (batch) => batch.assume(differing(load.sql), { ...load.parameters, rows });
  return { loaded: found.loaded, assumption: { addTo } };
}

/** Returns an SQL query that yields a row if `load` does not yield the rows in `:rows`. No two rows of `load` are the same. */
function differing(load: string): string {
  return `WITH present AS MATERIALIZED (SELECT * FROM (${load}))
    SELECT 1 WHERE (SELECT count(*) FROM present) <> json_array_length(:rows) OR EXISTS (
      SELECT * FROM present EXCEPT
      SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:rows))`;
}
