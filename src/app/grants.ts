/**
 * Lists and changes grants: who may do what in a repository. The functions without a parameter `call` do no I/O: they compute
 * new statements from a user's choice in a form, which the caller can preview and save.
 */
import { grantsElsewhere } from '../auth/rights/elsewhere.ts';
import type { ShownStatement } from '../contract/answers/statements.ts';
import type { RepositoryName } from '../oci/name.ts';
import { ACTIONS, PRESETS, type Preset, type RepositoryAction, TAG_ACTIONS } from '../vocabulary/actions.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';

export interface GrantedRight {
  action: RepositoryAction;
  /** Patterns of tags to which the right is limited. Absent if the right applies to any tag. */
  tags?: string[];
}

export interface Grant {
  principal: string;
  allows: GrantedRight[];
  denies: GrantedRight[];
  /** The preset that allows the same actions, or `null` if there is none. */
  preset: Preset | null;
}

type Statements = readonly {
  effect: 'allow' | 'deny';
  actions: readonly RepositoryAction[];
  tags?: readonly string[] | undefined;
}[];

const EVERYTHING: Statements = [{ effect: 'allow', actions: ACTIONS }];

/**
 * Returns the rights that statements allow or deny, by action. If a right applies to any tag, the same right with tags is left
 * out.
 */
function rightsIn(statements: Statements, effect: ShownStatement['effect']): GrantedRight[] {
  return ACTIONS.flatMap((action): GrantedRight[] => {
    const about = statements.filter((one) => one.effect === effect && one.actions.includes(action));
    if (about.length === 0) return [];
    if (about.some(({ tags }) => tags === undefined)) return [{ action }];
    return [{ action, tags: [...new Set(about.flatMap(({ tags = [] }) => tags))] }];
  });
}

function grantOf(principal: string, statements: Statements): Grant {
  const [allows, denies] = [rightsIn(statements, 'allow'), rightsIn(statements, 'deny')];
  const names = allows.map(({ action }) => action).join();
  const found = Object.entries(PRESETS).find(
    ([, actions]) => ACTIONS.filter((one) => actions.some((o) => o === one)).join() === names,
  );
  return { principal, allows, denies, preset: (found?.[0] as Preset | undefined) ?? null };
}

/**
 * Returns the grants in a repository's policy, by principal, in the order of the statements. Statements with conditions or
 * exceptions are left out.
 */
export function grantsIn(statements: readonly ShownStatement[]): Grant[] {
  const plain = statements.filter((statement) => !isConditional(statement));
  const principals = [...new Set(plain.flatMap(({ principals: named = [] }) => named))];
  return principals.map((principal) =>
    grantOf(
      principal,
      plain.filter(({ principals: named }) => named?.includes(principal)),
    ),
  );
}

/** True if a statement has conditions or exceptions, so that it does not always apply to the principals that it names. */
export function isConditional({ conditions, except }: ShownStatement): boolean {
  return (conditions ?? except) !== undefined;
}

/**
 * Lists who may use a repository for other reasons than its policy.
 * @returns `partial` is true if there may be others whom the caller may not see
 */
export async function listGrantsElsewhere(
  call: Call,
  repository: RepositoryName,
): Promise<{ items: (Grant & { isOwner: boolean })[]; partial: boolean }> {
  requireRight(call, 'admin', repository);
  const { items, partial } = await grantsElsewhere(call.env, repository, call.authority);
  const grants = items.map(({ subject, statements }) => ({
    ...grantOf(subject, statements ?? EVERYTHING),
    isOwner: statements === null,
  }));
  return { items: grants, partial };
}

/**
 * Returns the statements without those that allow this principal something. @param also true to leave out also those that deny
 */
export function withoutPrincipal(statements: readonly ShownStatement[], principal: string, also: boolean): ShownStatement[] {
  return statements.flatMap((statement) => {
    const { principals = [] } = statement;
    if (!principals.includes(principal) || (statement.effect === 'deny' && !also)) return [statement];
    const others = principals.filter((one) => one !== principal);
    return others.length === 0 ? [] : [{ ...statement, principals: others }];
  });
}

/**
 * Returns the statements with these rights for a principal. They replace what the principal was allowed before.
 * @param tags patterns of the tags to which pushing, moving and deleting is limited; an empty list means any tag
 */
export function withPreset(
  statements: readonly ShownStatement[],
  principal: string,
  preset: Preset,
  tags: readonly string[],
): ShownStatement[] {
  const actions: readonly RepositoryAction[] = PRESETS[preset];
  const limited = tags.length === 0 ? [] : actions.filter((action) => TAG_ACTIONS.includes(action));
  const parts: ShownStatement[] = [
    { effect: 'allow', actions: actions.filter((action) => !limited.includes(action)) },
    { effect: 'allow', actions: limited, tags: [...tags] },
  ];
  return parts
    .filter((part) => part.actions.length > 0)
    .reduce((all, part) => added(all, principal, part), withoutPrincipal(statements, principal, false));
}

/** Adds the principal to an equal statement if there is one, otherwise adds a statement. */
function added(statements: readonly ShownStatement[], principal: string, wanted: ShownStatement): ShownStatement[] {
  const text = ({ effect, actions, tags }: ShownStatement) => JSON.stringify([effect, [...actions].sort(), tags ?? null]);
  const equal = statements.find((one) => !isConditional(one) && text(one) === text(wanted));
  if (!equal) return [...statements, { ...wanted, principals: [principal] }];
  return statements.map((one) => (one === equal ? { ...one, principals: [...(one.principals ?? []), principal] } : one));
}
