/** Trust rules as they are kept: listed, read, saved and deleted, each change under the version that it was made from. */
import { settings, type Vars } from '../../env.ts';
import { commit, refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { booleanIn, changesIn, NEWEST, record } from '../../events/outbox.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { organizationOf } from '../names.ts';
import { allOf, type Change, organizationRow, requireOrganization, type Span } from '../within.ts';
import { keysOfRule } from './claims.ts';
import type { TrustRule } from './oidc.ts';
import { checkRule } from './rule-check.ts';

export interface NewRule extends TrustRule {
  description: string;
  /** Of a disabled rule nobody is let in, and whoever was is out at once. */
  disabled: boolean;
}

export interface StoredRule extends NewRule {
  /** Seconds since the epoch. */
  createdAt: number;
  version: number;
}

const COLUMNS = 'subject, issuer, audience, claims, statements, description, created_at, version, lifetime, disabled';

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
 * Those of one organization by name, or with an empty one those of the registry as a whole.
 * @param page `after` is the subject that the page before ended with, '' for the first
 */
export async function listRules(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<StoredRule>> {
  const prefix = organization === '' ? 'ci:' : `ci:${organization}/`;
  const { results } = await env.DB.prepare(
    `SELECT ${COLUMNS} FROM trust_rules
     WHERE subject > max(?1, ?2) AND subject < ?1 || '~' AND instr(substr(subject, length(?1) + 1), '/') = 0
     ORDER BY subject LIMIT ?3`,
  )
    .bind(prefix, after, limit + 1)
    .all<Row>();
  return pageOf(results.map(ruleOf), limit);
}

export async function findRule(env: Database, subject: string): Promise<StoredRule | null> {
  const row = await env.DB.prepare(`SELECT ${COLUMNS} FROM trust_rules WHERE subject = ?1`).bind(subject).first<Row>();
  return row && ruleOf(row);
}

/** @throws not-found */
export async function getRule(env: Database, subject: string): Promise<StoredRule> {
  const rule = await findRule(env, subject);
  if (!rule) throw new Refusal('not-found');
  return rule;
}

/**
 * Creates or replaces. What a job got by the version before ends, unless this one says the same.
 * @throws request-invalid for a rule that means nobody in particular, or beyond its limits; limit-reached where its organization has
 * too many; version-mismatch; not-found where its organization is not there
 */
export async function putRule(env: Database & Vars, rule: NewRule, { ifVersion, by }: Change): Promise<StoredRule> {
  const { subject, claims, statements } = rule;
  const organization = organizationOf(subject);
  checkRule(rule, organization, settings(env).insecureIssuers);
  const saved = await tryBatch(env, [
    ...(organization === '' ? [] : [requireOrganization(env, organization)]),
    requireRoom(env, subject, bytesOf(claims) + bytesOf(statements)),
    refuseUnless(
      env,
      '?2 IS NULL OR coalesce((SELECT version FROM trust_rules WHERE subject = ?1), 0) = ?2',
      subject,
      ifVersion,
    ),
    recordSaved(env, rule, by),
    ...saving(env, rule),
    env.DB.prepare(`SELECT ${COLUMNS} FROM trust_rules WHERE subject = ?1`).bind(subject),
  ]);
  const row = saved?.at(-1)?.results[0] as Row | undefined;
  if (row) return ruleOf(row);
  const there = organization === '' || (await organizationRow(env, organization).first()) !== null;
  if (!there) throw new Refusal('not-found');
  const version = (await findRule(env, subject))?.version ?? 0;
  throw ifVersion !== null && version !== ifVersion ? new Refusal('version-mismatch') : noRoom(organization);
}

const CHANGES = changesIn([
  ['issuer', 'issuer', '?4'],
  ['audience', 'audience', '?5'],
  ['claims', 'json(claims)', 'json(?6)'],
  ['statements', 'json(statements)', 'json(?7)'],
  ['description', 'description', '?8'],
  ['lifetime', 'lifetime', '?9'],
  ['disabled', booleanIn('disabled'), booleanIn('?10')],
]);

/** Before the rule is saved, as it says what changes. */
function recordSaved(env: Database, rule: NewRule, by: Actor): D1PreparedStatement {
  const { subject, issuer, audience, claims, statements, description, lifetime, disabled } = rule;
  return record(env, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'trust-rule.saved' AS type, json_object('subject', ?3, 'issuer', ?4, 'audience', ?5, 'claims', json(?6),
        'statements', json(?7), 'version', coalesce(version, 0) + 1, 'lifetime', ?9, 'disabled', ${booleanIn('?10')}) AS target,
        iif(subject IS NULL, NULL, ${CHANGES}) AS changes
      FROM (SELECT 1) LEFT JOIN trust_rules ON subject = ?3`,
    parameters: [
      ...[subject, issuer, audience, JSON.stringify(claims), JSON.stringify(statements)],
      ...[description, lifetime, Number(disabled)],
    ],
    hasChanges: true,
  });
}

/** SQL: the row says what is being saved. A program that saves its rules again and again ends nobody's login. */
const IS_SAME = `issuer = ?2 AND audience = ?3 AND claims = ?4 AND statements = ?5 AND description = ?6 AND lifetime = ?7
  AND disabled = ?8`;

function saving(env: Database, rule: NewRule): D1PreparedStatement[] {
  const { subject, issuer, audience, claims, statements, description, lifetime, disabled } = rule;
  const organization = organizationOf(subject);
  const keys = keysOfRule(claims);
  return [
    // The revision is the id of the event of this change, which is the newest. Logins know the newest event of their time.
    env.DB.prepare(
      `INSERT INTO trust_rules (subject, issuer, audience, claims, statements, description, created_at, lifetime, disabled,
         organization, revision, keyed)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, unixepoch(), ?7, ?8, ?9, ${NEWEST}, ?10)
       ON CONFLICT DO UPDATE SET issuer = ?2, audience = ?3, claims = ?4, statements = ?5, description = ?6, lifetime = ?7,
         disabled = ?8, organization = ?9, revision = iif(${IS_SAME}, revision, ${NEWEST}), version = version + 1, keyed = iif(?10, version + 1, 0)`,
    ).bind(
      ...[subject, issuer, audience, JSON.stringify(claims), JSON.stringify(statements), description],
      ...[lifetime, Number(disabled), organization, Number(keys.length > 0)],
    ),
    env.DB.prepare('DELETE FROM trust_rule_keys WHERE subject = ?1').bind(subject),
    env.DB.prepare(
      `INSERT INTO trust_rule_keys (issuer, claim, value, organization, subject)
       SELECT ?1, value ->> 0, value ->> 1, ?2, ?3 FROM json_each(?4)`,
    ).bind(issuer, organization, subject, JSON.stringify(keys)),
  ];
}

/** Of an organization. */
const RULES_MAX = 50;
/** Of an organization, and of the registry: bytes of conditions and statements together, as a request reads those that fit it. */
const RULES_MAX_BYTES = 64 * 1024;
const REGISTRY_MAX_BYTES = 512 * 1024;

function noRoom(organization: string): Refusal {
  const whose = organization === '' ? 'the registry' : organization;
  const limit = organization === '' ? `${REGISTRY_MAX_BYTES} bytes` : `${RULES_MAX} rules, and ${RULES_MAX_BYTES} bytes`;
  const message = `the trust rules of ${whose} have up to ${limit} in all: delete or shorten one first. Nothing was saved`;
  return new Refusal('limit-reached', { message });
}

/** Rules beyond the limits, of an older version, can still be made smaller. */
function requireRoom(env: Database, subject: string, bytes: number): D1PreparedStatement {
  const organization = organizationOf(subject);
  const size = 'octet_length(claims) + octet_length(statements)';
  const room = (others: string, most: number) =>
    `(SELECT coalesce(sum(${size}), 0) + ?2 FROM trust_rules WHERE ${others} AND subject <> ?1) <= ${most}
      OR EXISTS (SELECT 1 FROM trust_rules WHERE subject = ?1 AND ?2 <= ${size})`;
  if (organization === '') return refuseUnless(env, room("organization = ''", REGISTRY_MAX_BYTES), subject, bytes);
  const { from, before } = allOf('ci', organization);
  const those = 'subject >= ?3 AND subject < ?4';
  const number = `EXISTS (SELECT 1 FROM trust_rules WHERE subject = ?1)
    OR (SELECT count(*) FROM trust_rules WHERE ${those}) < ${RULES_MAX}`;
  return refuseUnless(env, `(${number}) AND (${room(those, RULES_MAX_BYTES)})`, subject, bytes, from, before);
}

function bytesOf(value: object): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}

/** SQL: no rule has this key any more. */
const IS_GONE = 'NOT EXISTS (SELECT 1 FROM trust_rules r WHERE r.subject = trust_rule_keys.subject)';

/** @throws not-found, version-mismatch */
export async function deleteRule(env: Database, subject: string, { ifVersion, by }: Change): Promise<void> {
  const [, deleted, left] = await commit(env, [
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT 'trust-rule.deleted' AS type, json_object('subject', subject, 'issuer', issuer, 'version', version) AS target
        FROM trust_rules WHERE subject = ?3 AND version = coalesce(?4, version)`,
      parameters: [subject, ifVersion],
    }),
    env.DB.prepare('DELETE FROM trust_rules WHERE subject = ?1 AND version = coalesce(?2, version) RETURNING subject').bind(
      subject,
      ifVersion,
    ),
    env.DB.prepare('SELECT subject FROM trust_rules WHERE subject = ?1').bind(subject),
    env.DB.prepare(`DELETE FROM trust_rule_keys WHERE subject = ?1 AND ${IS_GONE}`).bind(subject),
  ]);
  if (deleted?.results.length) return;
  throw new Refusal(left?.results.length ? 'version-mismatch' : 'not-found');
}

/** For the batch that takes an organization away: nobody vouches for what its rules say any more. */
export function removeRules(env: Database, { from, before }: Span, by: Actor): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(from),
      by,
      select: `SELECT 'trust-rule.deleted' AS type, json_object('subject', subject, 'issuer', issuer, 'version', version) AS target
        FROM trust_rules WHERE subject >= ?3 AND subject < ?4`,
      parameters: [from, before],
    }),
    env.DB.prepare('DELETE FROM trust_rules WHERE subject >= ?1 AND subject < ?2').bind(from, before),
    env.DB.prepare('DELETE FROM trust_rule_keys WHERE subject >= ?1 AND subject < ?2').bind(from, before),
  ];
}
