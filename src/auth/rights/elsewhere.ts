/**
 * Finds who may use a repository because of a role or of a policy of their own, and not because of the policy of the
 * repository.
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { namespaceOf } from '../../vocabulary/names.ts';
import type { Authority } from '../authority.ts';
import { isAbout, type Statement } from '../statement.ts';
import { viewerOf } from './viewer.ts';

/** A user, team, robot or trust rule, with those of its statements that apply to the repository. */
export interface OtherGrant {
  subject: string;
  /** `null` for an owner of the namespace, who may do everything. */
  statements: Statement[] | null;
}

interface OtherGrants {
  items: OtherGrant[];
  /** True if there may be others, because the caller may not see them or because there are too many to read in one request. */
  partial: boolean;
}

/** The maximum number of owners, of policies of each kind, and of bytes of all these policies, that one request reads. */
const OWNERS_MAX = 100;
const POLICIES_MAX = 300;
const BYTES_MAX = 128 * 1024;

const within = (kind: string) => `subject >= '${kind}:' || :namespace || '/' AND subject < '${kind}:' || :namespace || '0'`;

const POLICIES = [
  `SELECT subject, statements FROM policies WHERE ${within('team')}`,
  `SELECT subject, statements FROM policies WHERE ${within('robot')}`,
  `SELECT subject, statements FROM trust_rules WHERE ${within('ci')} AND NOT disabled`,
  `SELECT subject, statements FROM policies WHERE :administrator AND subject >= 'user:' AND subject < 'user;'`,
  `SELECT subject, statements FROM trust_rules WHERE :administrator AND organization = '' AND NOT disabled`,
]
  .map((select) => `SELECT * FROM (${select} LIMIT ${POLICIES_MAX})`)
  .join(' UNION ALL ');

const GRANTS = `SELECT subject, NULL AS statements, 0 AS is_cut FROM (
    SELECT subject FROM members JOIN accounts ON subject = user
    WHERE organization = :namespace AND role = 'owner' AND disabled = 0 LIMIT ${OWNERS_MAX})
  UNION ALL SELECT subject, NULL, 0 FROM accounts WHERE subject = 'user:' || :namespace AND disabled = 0
  UNION ALL SELECT subject, iif(total <= ${BYTES_MAX}, statements, '[]'), total > ${BYTES_MAX} FROM (
    SELECT subject, statements, sum(octet_length(statements)) OVER (ORDER BY subject) AS total FROM (${POLICIES}))`;

/** Returns everything to administrators and to owners of the namespace, and nothing to other callers. */
export async function grantsElsewhere(env: Database, repository: string, asker: Authority): Promise<OtherGrants> {
  const viewer = viewerOf(asker);
  const namespace = namespaceOf(repository);
  const isOwn = viewer.owns.includes(namespace) || viewer.subject === `user:${namespace}`;
  if (!viewer.administrator && !isOwn) return { items: [], partial: true };
  const parameters = { namespace, administrator: viewer.administrator };
  const { results } = await prepare(env, GRANTS, parameters).all<{
    subject: string;
    statements: string | null;
    is_cut: number;
  }>();
  const items = results.flatMap(({ subject, statements }): OtherGrant[] => {
    if (statements === null) return [{ subject, statements: null }];
    const about = (JSON.parse(statements) as Statement[]).filter((one) => isAbout(one.repositories, repository));
    return about.length === 0 ? [] : [{ subject, statements: about }];
  });
  const isCut = results.some((row) => row.is_cut === 1) || results.length >= POLICIES_MAX;
  return { items, partial: !viewer.administrator || isCut };
}
