/** Trust rules as they are kept: listed, read, saved and deleted, each change under the version that it was made from. */
import { commit, refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import { RegistryError } from '../../oci/errors.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import type { Database } from '../directory.ts';
import { organizationOf } from '../names.ts';
import { checkStatements } from '../statement-limits.ts';
import { allOf, type Change, organizationRow, requireOrganization, type Span } from '../within.ts';
import type { TrustRule } from './oidc.ts';

export interface NewRule extends TrustRule {
  description: string;
}

export interface StoredRule extends NewRule {
  /** Seconds since the epoch. */
  createdAt: number;
  version: number;
}

const COLUMNS = 'subject, issuer, audience, claims, statements, description, created_at, version';

interface Row {
  subject: string;
  issuer: string;
  audience: string;
  claims: string;
  statements: string;
  description: string;
  created_at: number;
  version: number;
}

function ruleOf({ created_at, claims, statements, ...row }: Row): StoredRule {
  return { ...row, claims: JSON.parse(claims), statements: JSON.parse(statements), createdAt: created_at };
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

/** @throws NOT_FOUND */
export async function getRule(env: Database, subject: string): Promise<StoredRule> {
  const row = await env.DB.prepare(`SELECT ${COLUMNS} FROM trust_rules WHERE subject = ?1`).bind(subject).first<Row>();
  if (!row) throw new RegistryError('NOT_FOUND');
  return ruleOf(row);
}

/**
 * Creates or replaces.
 * @param rule one that `checkRule` has let pass
 * @throws INVALID for statements beyond the limits of a policy, PRECONDITION_FAILED, CONFLICT where there are too many, NOT_FOUND where its organization is not there
 */
export async function putRule(env: Database, rule: NewRule, { ifVersion, by }: Change): Promise<StoredRule> {
  const { subject, issuer, audience, claims, statements, description } = rule;
  checkStatements(statements, 'a trust rule');
  const organization = organizationOf(subject);
  const saved = await tryBatch(env, [
    ...(organization === '' ? [] : [requireOrganization(env, organization), requireRoom(env, subject)]),
    refuseUnless(
      env,
      '?2 IS NULL OR coalesce((SELECT version FROM trust_rules WHERE subject = ?1), 0) = ?2',
      subject,
      ifVersion,
    ),
    env.DB.prepare(
      `INSERT INTO trust_rules (subject, issuer, audience, claims, statements, description, created_at)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, unixepoch())
       ON CONFLICT DO UPDATE SET issuer = ?2, audience = ?3, claims = ?4, statements = ?5, description = ?6,
         version = version + 1`,
    ).bind(subject, issuer, audience, JSON.stringify(claims), JSON.stringify(statements), description),
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT 'trust-rule.saved' AS type, json_object('subject', subject, 'issuer', issuer, 'audience', audience,
          'claims', json(claims), 'statements', json(statements), 'version', version) AS target
        FROM trust_rules WHERE subject = ?3`,
      parameters: [subject],
    }),
    env.DB.prepare(`SELECT ${COLUMNS} FROM trust_rules WHERE subject = ?1`).bind(subject),
  ]);
  const row = saved?.at(-1)?.results[0] as Row | undefined;
  if (row) return ruleOf(row);
  const there = organization === '' || (await organizationRow(env, organization).first()) !== null;
  if (!there) throw new RegistryError('NOT_FOUND');
  const { items } = await listRules(env, organization, { after: '', limit: RULES_MAX });
  if (organization === '' || items.length < RULES_MAX || items.some((rule) => rule.subject === subject)) {
    throw new RegistryError('PRECONDITION_FAILED');
  }
  throw new RegistryError('CONFLICT', { message: `${organization} has ${RULES_MAX} rules already: delete one first` });
}

/** Of an organization: each login with a token of an issuer reads all rules that are about it. */
const RULES_MAX = 50;

function requireRoom(env: Database, subject: string): D1PreparedStatement {
  const { from, before } = allOf('ci', organizationOf(subject));
  const room = `EXISTS (SELECT 1 FROM trust_rules WHERE subject = ?1)
    OR (SELECT count(*) FROM trust_rules WHERE subject >= ?2 AND subject < ?3) < ${RULES_MAX}`;
  return refuseUnless(env, room, subject, from, before);
}

/** @throws NOT_FOUND, PRECONDITION_FAILED */
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
  ]);
  if (deleted?.results.length) return;
  throw new RegistryError(left?.results.length ? 'PRECONDITION_FAILED' : 'NOT_FOUND');
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
  ];
}
