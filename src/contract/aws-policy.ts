/**
 * Policies in the notation of AWS, which the ECR API uses (IAM User Guide, "IAM JSON policy element reference"). A policy is
 * converted only if its statements mean the same, and is refused otherwise. What only this registry knows is written with the
 * prefix `berth:`, so that every statement can be written in this notation. Pure.
 */
import { jsonOf, parseStrictJson } from '../oci/json.ts';
import { matcherOf } from '../oci/pattern.ts';
import { ACTIONS, type RepositoryAction } from '../vocabulary/actions.ts';
import { CONDITION_OPERATORS, type ConditionKey, type ConditionOperator } from '../vocabulary/conditions.ts';
import { ECR_ACTIONS, IMPLIED_ACTIONS } from '../vocabulary/ecr-actions.ts';
import { EVERYONE, isPrincipal, nameOf, organizationOf } from '../vocabulary/names.ts';
import { type FieldError, invalidInput } from '../vocabulary/refusal.ts';

/** A statement with all members that this notation has. */
export interface PolicyStatement {
  effect: 'allow' | 'deny';
  actions: RepositoryAction[];
  repositories?: string[] | undefined;
  principals?: string[] | undefined;
  except?: string[] | undefined;
  tags?: string[] | undefined;
  conditions?: { operator: ConditionOperator; key: ConditionKey; values: string[] }[] | undefined;
}

/** Whose policy a text is, and in which registry. */
interface PolicyPlace {
  /** The owner of the policy, for example `repository:acme/app` or `team:acme/dev`. */
  subject: string;
  /** The registry's number of 12 digits. */
  registryId: string;
}

type Json = Record<string, unknown>;

/** True if a document of a client has the notation of AWS. */
function isAwsPolicy(document: unknown): document is Json {
  return isObject(document) && Object.hasOwn(document, 'Statement');
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses the text of a policy. @throws request-invalid with the place and the name of what is wrong */
export function statementsOfText(text: string, place: PolicyPlace): PolicyStatement[] {
  try {
    parseStrictJson(new TextEncoder().encode(text));
  } catch (error) {
    throw wrong('', `it is not valid JSON: ${(error as Error).message}`);
  }
  return statementsOfDocument(jsonOf(text), place);
}

/** Converts a policy in the notation of AWS. @throws request-invalid */
export function statementsOfDocument(document: unknown, place: PolicyPlace): PolicyStatement[] {
  if (!isAwsPolicy(document)) throw wrong('', 'it must be an object with the member Statement');
  known('', document, ['Version', 'Id', 'Statement']);
  const { Version: version = '2008-10-17', Statement: statements } = document;
  if (version !== '2008-10-17' && version !== '2012-10-17') throw wrong('Version', 'it must be 2012-10-17 or 2008-10-17');
  return listOf(statements).flatMap((one, n) => {
    const at = `Statement[${n}]`;
    if (!isObject(one)) throw wrong(at, 'it must be an object');
    return statementOf(at, one, place);
  });
}

function wrong(at: string, message: string): Error {
  return invalidInput({ at, message } satisfies FieldError);
}

/** @throws request-invalid for a member that is not in the list */
function known(at: string, value: Json, names: readonly string[]): void {
  const other = Object.keys(value).find((name) => !names.includes(name));
  if (other !== undefined) throw wrong(at, `${other} is not supported: the policy would mean something else without it`);
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value];
}

function textsIn(at: string, value: unknown): string[] {
  const list = listOf(value);
  if (list.length > 0 && list.every((one) => typeof one === 'string')) return list;
  throw wrong(at, 'it must be a text or a list of texts');
}

const SHARED = ['Sid', 'Effect', 'Action', 'Condition'];

/** Returns the statement; none if it is about those who may do everything anyway. */
function statementOf(at: string, one: Json, place: PolicyPlace): PolicyStatement[] {
  const isOfRepository = place.subject.startsWith('repository:');
  known(at, one, [...SHARED, ...(isOfRepository ? ['Principal', 'NotPrincipal'] : ['Resource'])]);
  const { Effect: given, Action: action, Condition: condition } = one;
  if (given !== 'Allow' && given !== 'Deny') throw wrong(`${at}.Effect`, 'it must be Allow or Deny');
  const effect = given === 'Allow' ? 'allow' : 'deny';
  const to = isOfRepository ? principalsOf(at, one, effect, place.registryId) : { repositories: resourcesOf(at, one, place) };
  const names = textsIn(`${at}.Action`, action);
  if (to === null) {
    for (const name of names) if (!name.startsWith('berth:')) patternOf(`${at}.Action`, name);
    return [];
  }
  const actions = actionsOf(`${at}.Action`, names, effect);
  return [{ effect, actions, ...to, ...conditionsOf(at, condition) }];
}

/** The patterns of actions, in lower case and without the prefix: AWS ignores the case of actions. */
function actionsOf(at: string, sent: readonly string[], effect: 'allow' | 'deny'): RepositoryAction[] {
  const own = sent.filter((one) => one.startsWith('berth:')).map((one) => one.slice('berth:'.length));
  const patterns = sent.filter((one) => !one.startsWith('berth:')).map((one) => patternOf(at, one));
  const names = (action: string) => patterns.some((matches) => matches(action.toLowerCase()));
  const found = ACTIONS.filter((action) => {
    const needed = ECR_ACTIONS[action];
    return own.includes(action) || (effect === 'allow' ? needed.every(names) : needed.some(names));
  });
  const unknown = own.find((one) => !(ACTIONS as readonly string[]).includes(one));
  if (unknown !== undefined) throw wrong(at, `berth:${unknown} is no action`);
  const implied = Object.entries(IMPLIED_ACTIONS) as [RepositoryAction, readonly string[]][];
  const alone = implied.flatMap(([action, all]) => (found.includes(action) ? [] : all)).find(names);
  if (
    effect === 'deny' &&
    alone !== undefined &&
    !implied.some(([action, all]) => found.includes(action) && all.includes(alone))
  )
    throw wrong(at, `ecr:${alone} cannot be denied by itself: deny ecr:BatchGetImage, or ecr:SetRepositoryPolicy, as well`);
  if (found.length > 0) return found;
  const needs =
    'to pull takes ecr:BatchGetImage and ecr:GetDownloadUrlForLayer, and to push ecr:PutImage, ecr:InitiateLayerUpload, ' +
    'ecr:UploadLayerPart and ecr:CompleteLayerUpload, in one statement';
  throw wrong(at, `these actions ${effect} nothing here: ${needs}`);
}

function patternOf(at: string, action: string): (text: string) => boolean {
  const [, name = ''] = /^(?:ecr:)?(.*)$/i.exec(action) ?? [];
  if (action !== '*' && !/^ecr:[a-z*]+$/i.test(action))
    throw wrong(at, `"${action}" is no action of ECR: write ecr:BatchGetImage, ecr:* or the like`);
  return matcherOf(name.toLowerCase());
}

type To = Pick<PolicyStatement, 'principals' | 'except'>;

/** The principals of a statement; `null` if these may do everything anyway. */
function principalsOf(at: string, one: Json, effect: 'allow' | 'deny', registryId: string): To | null {
  const { Principal: principal, NotPrincipal: other } = one;
  if ((principal === undefined) === (other === undefined)) throw wrong(at, 'it must have either Principal or NotPrincipal');
  if (other !== undefined) {
    if (effect === 'allow')
      throw wrong(
        `${at}.NotPrincipal`,
        'it is not supported with Allow, which would allow it to everybody else: use Principal',
      );
    return { principals: [EVERYONE], except: namesOf(`${at}.NotPrincipal`, other, registryId).filter((name) => name !== ROOT) };
  }
  const all = namesOf(`${at}.Principal`, principal, registryId);
  const names = all.filter((name) => name !== ROOT);
  if (effect === 'deny' && names.length < all.length)
    throw wrong(`${at}.Principal`, 'nothing can be denied to root: administrators and owners may do everything');
  return names.length === 0 ? null : { principals: names };
}

/** Stands for administrators and for the owners of the namespace. They may do everything, so no statement names them. */
const ROOT = 'root';

function namesOf(at: string, value: unknown, registryId: string): string[] {
  if (value === EVERYONE) return [EVERYONE];
  if (!isObject(value)) throw wrong(at, 'it must be "*" or {"AWS": ...}');
  const foreign = Object.keys(value).find((kind) => kind !== 'AWS');
  if (foreign !== undefined) throw wrong(at, `principals of the kind ${foreign} do not exist in this registry`);
  return textsIn(at, value.AWS).map((text) => nameIn(at, text, registryId));
}

/** Converts an ARN to the name of a principal. */
function nameIn(at: string, text: string, registryId: string): string {
  if (text === EVERYONE) return EVERYONE;
  if (/^\d{12}$/.test(text)) return nameIn(at, `arn:aws:iam::${text}:root`, registryId);
  const [, number, resource = ''] = /^arn:aws[a-z-]*:iam::(\d{12}):(.+)$/.exec(text) ?? [];
  const [kind = '', ...path] = resource.split('/');
  const name = path.join('/');
  if (number !== undefined && number !== registryId)
    throw wrong(at, `"${text}" belongs to another account: the number of this registry is ${registryId}`);
  const kinds: Record<string, string> = { user: 'user', group: path.length === 1 ? 'organization' : 'team', role: 'robot' };
  const principal = resource === ROOT ? ROOT : `${Object.hasOwn(kinds, kind) ? kinds[kind] : ''}:${name}`;
  if (principal === ROOT || isPrincipal(principal)) return principal;
  const forms = 'user/alice, group/acme (an organization), group/acme/dev (a team), role/acme/ci (a robot) or root';
  throw wrong(at, `"${text}" is no principal: it must be arn:aws:iam::${registryId}: and ${forms}`);
}

/** Converts the resources of a policy of a user, team or robot to patterns of repositories. */
function resourcesOf(at: string, { Resource: sent }: Json, { subject, registryId }: PolicyPlace): string[] {
  if (sent === undefined) throw wrong(at, 'Resource is missing');
  const organization = subject.startsWith('user:') ? '' : organizationOf(subject);
  return textsIn(`${at}.Resource`, sent).map((text) => {
    // A team or robot has rights in its organization only.
    if (text === '*') return organization === '' ? '*' : `${organization}/*`;
    const [, number, name = ''] = /^arn:aws[a-z-]*:ecr:[a-z0-9*-]*:(\d{12}|\*):repository\/(.+)$/.exec(text) ?? [];
    if (number === registryId || number === '*') return name;
    const form = `arn:aws:ecr:*:${registryId}:repository/NAME`;
    throw wrong(`${at}.Resource`, `"${text}" is no repository of this registry: it must be "*" or ${form}`);
  });
}

const TAG_KEY = 'berth:tag';

function conditionsOf(at: string, sent: unknown): Pick<PolicyStatement, 'conditions' | 'tags'> {
  if (sent === undefined) return {};
  if (!isObject(sent)) throw wrong(`${at}.Condition`, 'it must be an object');
  const all = Object.entries(sent).flatMap(([operator, keys]) => {
    if (!isObject(keys)) throw wrong(`${at}.Condition.${operator}`, 'it must be an object');
    return Object.entries(keys).map(([key, values]) => ({
      operator,
      key,
      values: textsIn(`${at}.Condition.${operator}.${key}`, values),
    }));
  });
  const [tags, ...more] = all.filter(({ key }) => key === TAG_KEY);
  if (more.length > 0 || (tags && tags.operator !== 'StringLike'))
    throw wrong(`${at}.Condition`, `${TAG_KEY} is supported once, with StringLike`);
  const conditions = all.filter(({ key }) => key !== TAG_KEY).map((one) => conditionOf(at, one));
  return { ...(conditions.length > 0 ? { conditions } : {}), ...(tags ? { tags: tags.values } : {}) };
}

type PolicyCondition = NonNullable<PolicyStatement['conditions']>[number];

const KEYS = new Map((Object.keys(CONDITION_OPERATORS) as ConditionKey[]).map((key) => [key.toLowerCase(), key]));

function conditionOf(
  at: string,
  { operator, key, values }: { operator: string; key: string; values: string[] },
): PolicyCondition {
  const place = `${at}.Condition`;
  // AWS ignores the case of keys.
  const name = KEYS.get(key.toLowerCase());
  if (name === undefined)
    throw wrong(place, `the key ${key} is not supported, and the statement would mean something else without it`);
  const operators: readonly string[] = CONDITION_OPERATORS[name];
  if (!operators.includes(operator)) throw wrong(place, `the operator ${operator} is not supported for ${name}`);
  if (values.some((value) => value.includes('${'))) throw wrong(place, 'policy variables are not supported');
  return { operator: operator as ConditionOperator, key: name, values };
}

/** Writes statements in the notation of AWS. */
export function textOfStatements(statements: readonly PolicyStatement[], registryId: string): string {
  const shown = statements.map(({ effect, actions, principals = [], except, repositories, tags, conditions = [] }) => ({
    Effect: effect === 'allow' ? 'Allow' : 'Deny',
    ...(repositories
      ? { Resource: repositories.map((name) => (name === '*' ? '*' : `arn:aws:ecr:*:${registryId}:repository/${name}`)) }
      : except
        ? { NotPrincipal: { AWS: except.map((name) => arnOf(name, registryId)) } }
        : { Principal: principalText(principals, registryId) }),
    Action: actionNames(actions),
    ...(conditions.length > 0 || tags ? { Condition: conditionText(conditions, tags) } : {}),
  }));
  return JSON.stringify({ Version: '2012-10-17', Statement: shown }, null, 2);
}

function principalText(principals: readonly string[], registryId: string): unknown {
  if (principals.length === 1 && principals[0] === EVERYONE) return EVERYONE;
  return { AWS: principals.map((name) => (name === EVERYONE ? name : arnOf(name, registryId))) };
}

/** The ARN of a principal, or of the caller of a request. */
export function arnOf(principal: string, registryId: string): string {
  const kinds: Record<string, string> = { user: 'user', organization: 'group', team: 'group', robot: 'role', ci: 'role/ci' };
  return `arn:aws:iam::${registryId}:${kinds[principal.slice(0, principal.indexOf(':'))]}/${nameOf(principal)}`;
}

/** The ECR actions of the actions. `push` without `retag`, and the other way round, cannot be said in ECR. */
function actionNames(actions: readonly RepositoryAction[]): string[] {
  if (ACTIONS.every((action) => actions.includes(action))) return ['ecr:*'];
  const isWhole = actions.includes('push') && actions.includes('retag');
  return [
    ...new Set(
      actions.flatMap((action) => {
        if ((action === 'push' || action === 'retag') && !isWhole) return [`berth:${action}`];
        const more = action === 'pull' ? ['BatchCheckLayerAvailability'] : [];
        return [...ECR_ACTIONS[action], ...more].map((name) => `ecr:${name}`);
      }),
    ),
  ];
}

function conditionText(conditions: readonly PolicyCondition[], tags: readonly string[] | undefined): Json {
  const all = [...conditions, ...(tags ? [{ operator: 'StringLike', key: TAG_KEY, values: tags }] : [])];
  const byOperator = Map.groupBy(all, ({ operator }) => operator);
  return Object.fromEntries(
    [...byOperator].map(([operator, some]) => [operator, Object.fromEntries(some.map(({ key, values }) => [key, values]))]),
  );
}
