/** Lists, reads, saves and deletes trust rules in D1. */
import { settings, type Vars } from '../../env.ts';
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { booleanIn, changesIn, NEWEST, recordEvent } from '../../events/outbox.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { organizationOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { allOf, type Change, requireOrganization, requireVersion, type SubjectRange } from '../within.ts';
import { keysOfRule } from './claims.ts';
import type { TrustRule } from './oidc.ts';
import { checkRule } from './rule-check.ts';

export interface NewRule extends TrustRule {
  description: string;
  /** If true, the rule admits no job. Disabling a rule also ends the logins that it admitted. */
  disabled: boolean;
}

export interface StoredRule extends NewRule {
  /** In seconds since the epoch. */
  createdAt: number;
  version: number;
}

const COLUMNS = 'subject, issuer, audience, claims, statements, description, created_at, version, lifetime, disabled';

const SELECT_RULE = `SELECT ${COLUMNS} FROM trust_rules WHERE subject = :subject`;

const VERSION = 'SELECT version FROM trust_rules WHERE subject = :subject';

interface Row {
  subject: string;
  issuer: string;
  audience: string;
  claims: string;
  statements: string;
  description: string;
  created_at: number;
  version: number;
  lifetime: number;
  disabled: number;
}

function ruleOf({ created_at, claims, statements, disabled, ...row }: Row): StoredRule {
  return {
    ...row,
    disabled: disabled === 1,
    claims: JSON.parse(claims),
    statements: JSON.parse(statements),
    createdAt: created_at,
  };
}

/**
 * Lists the rules of one organization by name, or those of the whole registry if `organization` is empty.
 * @param page `after` is the last subject of the previous page, or the empty string for the first page
 */
export async function listRules(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<StoredRule>> {
  const prefix = organization === '' ? 'ci:' : `ci:${organization}/`;
  const { results } = await prepare(
    env,
    `SELECT ${COLUMNS} FROM trust_rules
     WHERE subject > max(:prefix, :after) AND subject < :prefix || '~' AND instr(substr(subject, length(:prefix) + 1), '/') = 0
     ORDER BY subject LIMIT :rows`,
    { prefix, after, rows: limit + 1 },
  ).all<Row>();
  return pageOf(results.map(ruleOf), limit);
}

export async function findRule(env: Database, subject: string): Promise<StoredRule | null> {
  const row = await prepare(env, SELECT_RULE, { subject }).first<Row>();
  return row && ruleOf(row);
}

/** @throws not-found if the rule does not exist */
export async function getRule(env: Database, subject: string): Promise<StoredRule> {
  const rule = await findRule(env, subject);
  if (!rule) throw new Refusal('not-found');
  return rule;
}

/**
 * Creates or replaces a rule. Logins that the previous version admitted end, unless the new version has the same content.
 * @throws request-invalid if the rule is unsafe or exceeds a limit (`checkRule`); limit-reached; version-mismatch; not-found if
 * the organization does not exist
 */
export async function putRule(env: Database & Vars, rule: NewRule, { ifVersion, by }: Change): Promise<StoredRule> {
  const { subject } = rule;
  const organization = organizationOf(subject);
  checkRule(rule, organization, settings(env).insecureIssuers);
  const batch = newBatch(env);
  if (organization !== '') requireOrganization(batch, organization);
  requireVersion(batch, VERSION, { subject }, ifVersion);
  requireRoomForRule(batch, rule);
  const parameters = {
    ...{ subject, issuer: rule.issuer, audience: rule.audience, organization },
    ...{ claims: JSON.stringify(rule.claims), statements: JSON.stringify(rule.statements) },
    ...{ description: rule.description, lifetime: rule.lifetime, disabled: rule.disabled },
  };
  recordSaved(batch, parameters, by);
  saveRule(batch, rule, parameters);
  const saved = batch.query<Row>(SELECT_RULE, { subject });
  const results = await batch.commit();
  return ruleOf(results.first(saved) as Row);
}

const CHANGES = changesIn([
  ['issuer', 'issuer', ':issuer'],
  ['audience', 'audience', ':audience'],
  ['claims', 'json(claims)', 'json(:claims)'],
  ['statements', 'json(statements)', 'json(:statements)'],
  ['description', 'description', ':description'],
  ['lifetime', 'lifetime', ':lifetime'],
  ['disabled', booleanIn('disabled'), booleanIn(':disabled')],
]);

/**
 * Adds a statement to the batch that records the event of the change. It must run before the rule is written, because it
 * compares the rule with the stored one.
 */
function recordSaved(batch: Batch, parameters: Parameters & { subject: string }, by: Actor): void {
  recordEvent(batch, {
    about: aboutOf(parameters.subject),
    by,
    select: `SELECT 'trust-rule.saved' AS type, json_object('subject', :subject, 'issuer', :issuer, 'audience', :audience,
        'claims', json(:claims), 'statements', json(:statements), 'version', coalesce(version, 0) + 1, 'lifetime', :lifetime,
        'disabled', ${booleanIn(':disabled')}) AS target,
        iif(subject IS NULL, NULL, ${CHANGES}) AS changes
      FROM (SELECT 1) LEFT JOIN trust_rules ON subject = :subject`,
    parameters,
    hasChanges: true,
  });
}

/**
 * SQL condition: the stored rule equals the rule to save. The revision then stays the same, so that a program which saves the
 * same rules again and again ends no logins.
 */
const IS_SAME = `issuer = :issuer AND audience = :audience AND claims = :claims AND statements = :statements
  AND description = :description AND lifetime = :lifetime AND disabled = :disabled`;

function saveRule(batch: Batch, { claims }: NewRule, parameters: Parameters): void {
  const keys = keysOfRule(claims);
  // The revision is the id of this change's event, which is the newest event at this point of the batch. A login stores the id
  // of the newest event at its time. So a rule with a greater revision was changed after the login.
  batch.run(
    `INSERT INTO trust_rules (subject, issuer, audience, claims, statements, description, created_at, lifetime, disabled,
       organization, revision, keyed)
     VALUES (:subject, :issuer, :audience, :claims, :statements, :description, unixepoch(), :lifetime, :disabled,
       :organization, ${NEWEST}, :keyed)
     ON CONFLICT DO UPDATE SET issuer = :issuer, audience = :audience, claims = :claims, statements = :statements,
       description = :description, lifetime = :lifetime, disabled = :disabled, organization = :organization,
       revision = iif(${IS_SAME}, revision, ${NEWEST}), version = version + 1, keyed = iif(:keyed, version + 1, 0)`,
    { ...parameters, keyed: keys.length > 0 },
  );
  batch.run('DELETE FROM trust_rule_keys WHERE subject = :subject', parameters);
  batch.run(
    `INSERT INTO trust_rule_keys (issuer, claim, value, organization, subject)
     SELECT :issuer, value ->> 0, value ->> 1, :organization, :subject FROM json_each(:keys)`,
    { ...parameters, keys },
  );
}

/** The maximum number of rules of one organization. */
const RULES_MAX = 50;
/**
 * The maximum number of bytes of the conditions and statements of all rules of one organization. One request may have to read
 * all of them.
 */
const RULES_MAX_BYTES = 64 * 1024;
/** The maximum number of bytes of the conditions and statements of all rules of the whole registry. */
const REGISTRY_MAX_BYTES = 512 * 1024;

/**
 * Adds a precondition to the batch: the rules of the owner stay within their limits of number and bytes. Otherwise the batch
 * fails with `limit-reached`. A change that makes a rule smaller is always accepted, even if the owner exceeds the limit.
 */
function requireRoomForRule(batch: Batch, { subject, claims, statements }: NewRule): void {
  const organization = organizationOf(subject);
  const [whose, limit] =
    organization === ''
      ? ['the registry', `${REGISTRY_MAX_BYTES} bytes`]
      : [organization, `${RULES_MAX} rules, and ${RULES_MAX_BYTES} bytes`];
  const size = 'octet_length(claims) + octet_length(statements)';
  const hasRoom = (range: string, most: number) =>
    `((SELECT coalesce(sum(${size}), 0) + :bytes FROM trust_rules WHERE ${range} AND subject <> :subject) <= ${most}
      OR EXISTS (SELECT 1 FROM trust_rules WHERE subject = :subject AND :bytes <= ${size}))`;
  const range = 'subject >= :from AND subject < :before';
  const hasNumber = `(EXISTS (SELECT 1 FROM trust_rules WHERE subject = :subject)
    OR (SELECT count(*) FROM trust_rules WHERE ${range}) < ${RULES_MAX})`;
  batch.require(
    'limit-reached',
    organization === ''
      ? hasRoom("organization = ''", REGISTRY_MAX_BYTES)
      : `${hasNumber} AND ${hasRoom(range, RULES_MAX_BYTES)}`,
    { subject, bytes: bytesOf(claims) + bytesOf(statements), ...allOf('ci', organization) },
    { message: `the trust rules of ${whose} have up to ${limit} in all. Nothing was saved: delete or shorten one first` },
  );
}

function bytesOf(value: object): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}

/** @throws not-found, version-mismatch */
export async function deleteRule(env: Database, subject: string, { ifVersion, by }: Change): Promise<void> {
  const batch = newBatch(env);
  batch.require('not-found', 'EXISTS (SELECT 1 FROM trust_rules WHERE subject = :subject)', { subject });
  requireVersion(batch, VERSION, { subject }, ifVersion);
  deleteWhere(batch, subject, 'subject = :subject', { subject }, by);
  await batch.commit();
}

/** Adds statements to the batch that delete the rules whose subjects are in this range. */
export function removeRules(batch: Batch, range: SubjectRange, by: Actor): void {
  deleteWhere(batch, range.from, 'subject >= :from AND subject < :before', range, by);
}

function deleteWhere(batch: Batch, about: string, condition: string, parameters: Parameters, by: Actor): void {
  recordEvent(batch, {
    about: aboutOf(about),
    by,
    select: `SELECT 'trust-rule.deleted' AS type,
        json_object('subject', subject, 'issuer', issuer, 'version', version) AS target
      FROM trust_rules WHERE ${condition}`,
    parameters,
  });
  batch.run(`DELETE FROM trust_rules WHERE ${condition}`, parameters);
  batch.run(`DELETE FROM trust_rule_keys WHERE ${condition}`, parameters);
}
