/**
 * Which trust rules may be about a token, found in SQL: by the organization that the request is about and by the claim that names
 * the job. Rules of others for the same job cost nothing and decide nothing (invariant 12).
 */
import { NEWEST } from '../../events/outbox.ts';
import type { Database } from '../directory.ts';
import { organizationOf } from '../names.ts';
import { type Claims, keysOfClaims } from './claims.ts';
import type { TrustRule } from './oidc.ts';

export interface SavedRule extends TrustRule {
  /** The id of the event that tells of its present version. */
  revision: number;
  /** It is found by a claim that names the job, and not looked at for every token of its issuer. */
  names: boolean;
}

export interface Selection {
  rules: SavedRule[];
  /** There were more than one request reads. */
  cut: boolean;
  /** Whether anybody trusts the issuer at all: only then it is asked for its keys. */
  trusted: boolean;
  /** The id of the newest event: a login that begins now knows the rules as they are after it. */
  newest: number;
  /** When this token was first shown here, if it was: seconds since the epoch, and the newest event then. */
  seen: { at: number; since: number } | null;
}

/** Rules, and bytes of them, that a request reads which is about no organization in particular. */
const READ_MAX = 100;
const READ_MAX_BYTES = 128 * 1024;

const COLUMNS = `r.subject, r.issuer, r.audience, r.lifetime, r.revision, r.keyed = r.version AS names`;

/** ?1: the issuer. ?2: pairs of claim and value. ?3: organizations. A rule without a key, or that older code saved, is always looked at. */
const OF_ORGANIZATIONS = `SELECT ${COLUMNS}, r.claims, r.statements FROM trust_rules r
  WHERE r.issuer = ?1 AND r.disabled = 0 AND r.subject IN (
    SELECT k.subject FROM json_each(?3) n CROSS JOIN json_each(?2) c CROSS JOIN trust_rule_keys k
      WHERE k.issuer = ?1 AND k.claim = c.value ->> 0 AND k.value = c.value ->> 1 AND k.organization = n.value
    UNION ALL SELECT u.subject FROM json_each(?3) n CROSS JOIN trust_rules u
      WHERE u.issuer = ?1 AND u.organization = n.value AND u.keyed <> u.version)`;

/** The same of all organizations: first one rule of each, then another one, so that no organization's many keep out another's. */
const OF_ALL = `WITH named(subject, organization) AS (
    SELECT k.subject, k.organization FROM json_each(?2) c CROSS JOIN trust_rule_keys k
      WHERE k.issuer = ?1 AND k.claim = c.value ->> 0 AND k.value = c.value ->> 1
    UNION SELECT subject, organization FROM trust_rules WHERE issuer = ?1 AND keyed <> version),
  ranked(subject, rank) AS (
    SELECT subject, row_number() OVER (PARTITION BY organization ORDER BY subject) AS rank FROM named
    ORDER BY rank, subject LIMIT ${READ_MAX + 1}),
  sized AS (
    SELECT r.*, sum(octet_length(claims) + octet_length(statements)) OVER (ORDER BY rank, r.subject) AS total
    FROM ranked CROSS JOIN trust_rules r ON r.subject = ranked.subject WHERE r.issuer = ?1 AND r.disabled = 0)
  SELECT ${COLUMNS}, iif(total <= ${READ_MAX_BYTES}, claims, NULL) AS claims, iif(total <= ${READ_MAX_BYTES}, statements, NULL) AS statements
  FROM sized r`;

const STATE = `SELECT EXISTS (SELECT 1 FROM trust_rules WHERE issuer = ?1) AS trusted, ${NEWEST} AS newest, began_at AS at, since
  FROM (SELECT 1) LEFT JOIN outside_logins ON id = ?2 AND expires_at > unixepoch()`;

type Row = Omit<SavedRule, 'names' | 'claims' | 'statements'> & {
  names: number;
  claims: string | null;
  statements: string | null;
};
type State = { trusted: number; newest: number; at: number | null; since: number | null };

/**
 * @param claims unverified ones do: every rule is compared with the verified ones
 * @param organizations `''` is the registry as a whole; `null`: the request is about none in particular
 * @param login the id of the outside token, see `outsideLoginId`
 */
export async function selectRules(
  env: Database,
  { issuer, claims, login }: { issuer: string; claims: Claims; login: string | null },
  organizations: readonly string[] | null,
): Promise<Selection> {
  const keys = JSON.stringify(keysOfClaims(claims));
  const rules =
    organizations === null
      ? env.DB.prepare(OF_ALL).bind(issuer, keys)
      : env.DB.prepare(OF_ORGANIZATIONS).bind(issuer, keys, JSON.stringify([...new Set(organizations)]));
  const [state, found] = await env.DB.batch([env.DB.prepare(STATE).bind(issuer, login), rules]);
  const [{ trusted, newest, at, since }] = (state?.results ?? []) as [State];
  const rows = (found?.results ?? []) as Row[];
  const read = rows.slice(0, organizations === null ? READ_MAX : undefined).flatMap((row) => ruleOf(row) ?? []);
  return {
    rules: read
      .filter(({ subject }) => organizations === null || organizations.includes(organizationOf(subject)))
      .sort((a, b) => (a.subject < b.subject ? -1 : 1)),
    cut: organizations === null && read.length < rows.length,
    trusted: trusted === 1,
    newest,
    seen: at === null || since === null ? null : { at, since },
  };
}

function ruleOf({ names, claims, statements, ...row }: Row): SavedRule | null {
  if (claims === null || statements === null) return null;
  return { ...row, names: names === 1, claims: JSON.parse(claims), statements: JSON.parse(statements) };
}
