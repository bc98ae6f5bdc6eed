/** Rights in forms and pages: presets for repositories, and statements as JSON. */
import type { FC } from 'hono/jsx';
import type { SentStatement } from '../../contract/statements.ts';
import { parseStrictJson } from '../../oci/json.ts';
import { PRESETS, type Preset } from '../../vocabulary/actions.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Form } from './forms.ts';
import { Input, type Option, type Refused, Select, TextArea } from './parts/form.tsx';
import { Chip, Foreign } from './parts/text.tsx';

/** A statement in the policy of a user, team or robot, or of a key. */
export type IdentityStatement = Extract<SentStatement, { repositories: string[] }>;

/** Reads statements from JSON: a list, or an object with the field `statements`. @throws request-invalid */
export function statementsOfJson(text: string): IdentityStatement[] {
  let value: unknown;
  try {
    value = parseStrictJson(new TextEncoder().encode(text)).value;
  } catch (error) {
    const message = `the statements are not valid JSON: ${(error as Error).message}. Nothing was changed`;
    throw new Refusal('request-invalid', { message });
  }
  const isObject = typeof value === 'object' && value !== null && 'statements' in value;
  // The statements are not checked here, because the operation checks them.
  return (isObject ? (value as { statements: unknown }).statements : value) as IdentityStatement[];
}

/** Returns the statement that the fields of `PresetFields` describe. The operation checks it. */
export function presetStatement(form: Form): IdentityStatement {
  const tags = wordsIn(form.raw('tags'));
  return {
    effect: 'allow',
    actions: form.text('rights') as Preset,
    repositories: wordsIn(form.raw('repositories')),
    ...(tags.length > 0 ? { tags } : {}),
  };
}

/** Returns the limits of a new key, or `null` for a key that is not narrowed. */
export function limitsIn(form: Form): IdentityStatement[] | null {
  const json = form.raw('statements').trim();
  if (json !== '') return statementsOfJson(json);
  return form.text('rights') === '' ? null : [presetStatement(form)];
}

export function wordsIn(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

const PRESET_OPTIONS: readonly Option[] = [
  ['pull only', 'Pull only'],
  ['push and pull', 'Push and pull'],
  ['all actions', 'All actions'],
];

/** Fields for a preset and the repositories to which it applies. @param all the text of an option without limits */
export const PresetFields: FC<{ all?: string; namespace: string; refused?: Refused | undefined }> = ({
  all,
  namespace,
  refused,
}) => (
  <>
    <Select
      name="rights"
      label="May do"
      options={all === undefined ? PRESET_OPTIONS : [['', all], ...PRESET_OPTIONS]}
      refused={refused}
    />
    <Input
      name="repositories"
      label={all === undefined ? 'In repositories' : 'In repositories, if limited'}
      hint={`Names or patterns, separated by spaces. ${namespace}/* stands for all of ${namespace}.`}
      max={2000}
      mono
      refused={refused}
    />
  </>
);

/** A folded field for statements as JSON. If it is filled, it replaces the preset. */
export const JsonLimits: FC<{ refused?: Refused | undefined }> = ({ refused }) => (
  <details class="fold" open={(refused?.value('statements') ?? '') !== ''}>
    <summary>Limit it by statements instead</summary>
    <TextArea
      name="statements"
      label="Statements as JSON"
      hint='Such as [{"actions": ["pull"], "repositories": ["acme/*"]}]. They count instead of the fields above.'
      rows={6}
      mono
      refused={refused}
    />
  </details>
);

const NAMED = Object.entries(PRESETS) as [Preset, readonly string[]][];

/** Returns the actions in words: the name of the preset if there is one, otherwise the list. */
export function actionsText(actions: readonly string[]): string {
  const preset = NAMED.find(([, all]) => all.length === actions.length && all.every((action) => actions.includes(action)));
  return preset?.[0] ?? actions.join(', ');
}

interface Said {
  effect: 'allow' | 'deny';
  actions: readonly string[];
  repositories?: readonly string[] | undefined;
  tags?: readonly string[] | undefined;
}

/** One statement in words. */
export const StatementText: FC<{ statement: Said }> = ({ statement }) => {
  const { effect, actions, repositories = [], tags } = statement;
  return (
    <span>
      {effect === 'deny' ? <Chip tone="bad">denied</Chip> : null} <strong>{actionsText(actions)}</strong> in{' '}
      <code>
        <Foreign text={repositories.join(', ')} />
      </code>
      {tags ? (
        <>
          , tags{' '}
          <code>
            <Foreign text={tags.join(', ')} />
          </code>
        </>
      ) : null}
    </span>
  );
};
