/**
 * Selects the trust rules that may apply to a token. An index finds the rules of the request's organizations that contain a
 * claim which identifies the job. Rules of other organizations for the same job are not read, so they cannot slow down the
 * request (invariant 12).
 */
import { type Database, newBatch } from '../../events/batch.ts';
import { NEWEST } from '../../events/outbox.ts';
import { organizationOf } from '../../vocabulary/names.ts';
import { type Claims, keysOfClaims } from './claims.ts';
import type { TrustRule } from './oidc.ts';

export interface SavedRule extends TrustRule {
  /** The id of the event of the rule's last change. */
  revision: number;
  /**
   * True if the rule was found by a claim that identifies the job. False for a rule that is read for every token of its issuer.
   */
  names: boolean;
}

export interface RuleSelection {
  rules: SavedRule[];
  /** True if there were more rules than one request reads. */
  cut: boolean;
  /** True if at least one rule has this issuer. The keys of other issuers are never fetched. */
  trusted: boolean;
  /**
   * The id of the newest event. A login that starts now stores it, because a rule that is changed later does not apply to the
   * login.
   */
  newest: number;
  /**
   * The first use of the token: its time in seconds since the epoch, and the id of the newest event at that time. `null` if the
   * token was not used before.
   */
  seen: { at: number; since: number } | null;
}

/** The maximum number of rules, and of their bytes, that are read for a request about no particular organization. */
const READ_MAX = 100;
const READ_MAX_BYTES = 128 * 1024;

const COLUMNS = `r.subject, r.issuer, r.audience, r.lifetime, r.revision, r.keyed = r.version AS names`;

/**
 * SQL query: the rules of :issuer and :organizations that have one of :keys (pairs of claim and value). Also the rules without
 * a key, and the rules that an earlier version of the registry saved.
 */
const OF_ORGANIZATIONS = `SELECT ${COLUMNS}, r.claims, r.statements FROM trust_rules r
  WHERE r.issuer = :issuer AND r.disabled = 0 AND r.subject IN (
    SELECT k.subject FROM json_each(:organizations) n CROSS JOIN json_each(:keys) c CROSS JOIN trust_rule_keys k
      WHERE k.issuer = :issuer AND k.claim = c.value ->> 0 AND k.value = c.value ->> 1 AND k.organization = n.value
    UNION ALL SELECT u.subject FROM json_each(:organizations) n CROSS JOIN trust_rules u
      WHERE u.issuer = :issuer AND u.organization = n.value AND u.keyed <> u.version)`;

/**
 * SQL query: the same rules in all organizations. Takes the first rule of each organization, then the second of each, and so
 * on, so that many rules of one organization do not keep out those of another.
 */
const OF_ALL = `WITH named(subject, organization) AS (
    SELECT k.subject, k.organization FROM json_each(:keys) c CROSS JOIN trust_rule_keys k
      WHERE k.issuer = :issuer AND k.claim = c.value ->> 0 AND k.value = c.value ->> 1
    UNION SELECT subject, organization FROM trust_rules WHERE issuer = :issuer AND keyed <> version),
  ranked(subject, rank) AS (
    SELECT subject, row_number() OVER (PARTITION BY organization ORDER BY subject) AS rank FROM named
    ORDER BY rank, subject LIMIT ${READ_MAX + 1}),
  sized AS (
    SELECT r.*, sum(octet_length(claims) + octet_length(statements)) OVER (ORDER BY rank, r.subject) AS total
    FROM ranked CROSS JOIN trust_rules r ON r.subject = ranked.subject WHERE r.issuer = :issuer AND r.disabled = 0)
  SELECT ${COLUMNS}, iif(total <= ${READ_MAX_BYTES}, claims, NULL) AS claims,
    iif(total <= ${READ_MAX_BYTES}, statements, NULL) AS statements
  FROM sized r`;

const STATE = `SELECT EXISTS (SELECT 1 FROM trust_rules WHERE issuer = :issuer) AS trusted, ${NEWEST} AS newest,
    began_at AS at, since
  FROM (SELECT 1) LEFT JOIN outside_logins ON id = :login AND expires_at > unixepoch()`;

type Row = Omit<SavedRule, 'names' | 'claims' | 'statements'> & {
  names: number;
  claims: string | null;
  statements: string | null;
};
type State = { trusted: number; newest: number; at: number | null; since: number | null };

/**
 * Selects rules. Also reads whether the issuer is trusted and whether the token was used before.
 * @param claims may be unverified, because each rule is compared with verified claims later
 * @param organizations the organizations of the request; '' is the whole registry. `null` if the request concerns no particular
 * organization
 * @param login the id of the outside token, from `outsideLoginId`
 */
export async function selectRules(
  env: Database,
  { issuer, claims, login }: { issuer: string; claims: Claims; login: string | null },
  organizations: readonly string[] | null,
): Promise<RuleSelection> {
  const batch = newBatch(env);
  const state = batch.query<State>(STATE, { issuer, login });
  const found = batch.query<Row>(organizations === null ? OF_ALL : OF_ORGANIZATIONS, {
    ...{ issuer, keys: keysOfClaims(claims), organizations: [...new Set(organizations)] },
  });
  const results = await batch.commit();
  const { trusted = 0, newest = 0, at = null, since = null } = results.first(state) ?? {};
  const rows = results.of(found);
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
