/** Parts of forms: fields with their hints and errors, buttons, and messages above a form. */
import type { FC } from 'hono/jsx';
import { REASONS } from '../../../vocabulary/reasons.ts';
import type { FieldError, Refusal } from '../../../vocabulary/refusal.ts';
import { Foreign } from './text.tsx';

/** The errors of a refused form, and the sent values, so that the user need not type anything again. */
export interface Refused {
  refusal: Refusal;
  value: (name: string) => string;
  /** Returns all values of a field, such as the checked boxes. */
  all: (name: string) => string[];
}

/** Returns the errors of a refusal by field. Returns an empty list if the refusal is not about fields. */
function errorsOf(refusal: Refusal | undefined): FieldError[] {
  return refusal?.reason === 'request-invalid' && Array.isArray(refusal.detail) ? (refusal.detail as FieldError[]) : [];
}

interface FieldProps {
  name: string;
  label: string;
  hint?: string;
  refused?: Refused | undefined;
  /** The value before the user changes anything. */
  value?: string;
}

function about({ name, hint, refused }: FieldProps) {
  const error = errorsOf(refused?.refusal).find(({ at }) => at === name || at.startsWith(`${name}.`))?.message;
  const ids = [hint === undefined ? '' : `${name}-hint`, error === undefined ? '' : `${name}-error`].filter(Boolean);
  const attributes = {
    ...(ids.length === 0 ? {} : { 'aria-describedby': ids.join(' ') }),
    ...(error === undefined ? {} : { 'aria-invalid': 'true' as const }),
  };
  return { error, attributes };
}

const Around: FC<FieldProps & { error: string | undefined; children?: unknown }> = ({ name, label, hint, error, children }) => (
  <div class="field">
    <label for={name}>{label}</label>
    {children}
    {hint === undefined ? null : (
      <p class="hint" id={`${name}-hint`}>
        {hint}
      </p>
    )}
    {error === undefined ? null : (
      <p class="error" id={`${name}-error`}>
        {error}
      </p>
    )}
  </div>
);

interface InputProps extends FieldProps {
  type?: 'text' | 'password' | 'number' | 'url' | 'email' | 'search';
  required?: boolean;
  autocomplete?: string;
  pattern?: string;
  max?: number;
  mono?: boolean;
  autofocus?: boolean;
  list?: string;
}

export const Input: FC<InputProps> = (props) => {
  const { name, type = 'text', required = false, autocomplete = 'off', pattern, max, mono, autofocus, list, refused } = props;
  const { error, attributes } = about(props);
  // A secret is never sent back to the browser.
  const value = type === 'password' ? undefined : (refused?.value(name) ?? props.value);
  return (
    <Around {...props} error={error}>
      <input
        id={name}
        name={name}
        type={type}
        class={mono ? 'mono' : undefined}
        value={value}
        required={required}
        autocomplete={autocomplete}
        pattern={pattern}
        maxlength={type === 'number' ? undefined : max}
        max={type === 'number' ? max : undefined}
        list={list}
        autofocus={autofocus}
        spellcheck={false}
        autocapitalize="none"
        {...attributes}
      />
    </Around>
  );
};

export const TextArea: FC<FieldProps & { rows?: number; max?: number; mono?: boolean }> = (props) => {
  const { name, rows = 8, max, mono, refused, value = '' } = props;
  const { error, attributes } = about(props);
  return (
    <Around {...props} error={error}>
      <textarea id={name} name={name} rows={rows} maxlength={max} class={mono ? 'mono' : undefined} {...attributes}>
        {refused?.value(name) ?? value}
      </textarea>
    </Around>
  );
};

export type Option = readonly [value: string, text: string];

export const Select: FC<FieldProps & { options: readonly Option[] }> = (props) => {
  const { name, options, refused, value = '' } = props;
  const { error, attributes } = about(props);
  const chosen = refused?.value(name) ?? value;
  return (
    <Around {...props} error={error}>
      <select id={name} name={name} {...attributes}>
        {options.map(([option, text]) => (
          <option value={option} selected={option === chosen}>
            {text}
          </option>
        ))}
      </select>
    </Around>
  );
};

/** A choice between a few options, each with an explanation. */
export const Choice: FC<{
  name: string;
  legend: string;
  options: readonly (readonly [value: string, label: string, hint: string])[];
  value: string;
}> = ({ name, legend, options, value }) => (
  <fieldset class="choice">
    <legend>{legend}</legend>
    {options.map(([option, label, hint]) => (
      <label>
        <input type="radio" name={name} value={option} checked={option === value} />
        <span>
          {label}
          <span class="hint">{hint}</span>
        </span>
      </label>
    ))}
  </fieldset>
);

export const Checkbox: FC<{ name: string; value?: string; label: string; hint?: string; checked?: boolean }> = ({
  name,
  value = 'on',
  label,
  hint,
  checked = false,
}) => (
  <label class="check">
    <input type="checkbox" name={name} value={value} checked={checked} />
    <span>
      {label}
      {hint === undefined ? null : <span class="hint">{hint}</span>}
    </span>
  </label>
);

/** A message above a refused form. It gets the focus, so that a screen reader reads it first. */
export const Refusals: FC<{ refused: Refused | undefined }> = ({ refused }) => {
  if (!refused) return null;
  const { reason, message } = refused.refusal;
  // The default message of this reason mentions ETags, which pages do not show, so it is replaced.
  const isGeneral = reason === 'version-mismatch' && message === REASONS[reason];
  return (
    <div class="notice bad" role="alert" tabindex={-1} data-focus>
      <p>{isGeneral ? 'It has changed since you opened this page. Nothing was saved.' : sentence(message)}</p>
    </div>
  );
};

/** Says what is stored now, if somebody else has changed it since the page was opened. */
export const Overtaken: FC<{ refused: Refused | undefined; now: string }> = ({ refused, now }) =>
  refused?.refusal.reason === 'version-mismatch' ? (
    <p class="hint">
      It is now: <Foreign text={now || 'empty'} />. Saving again replaces that.
    </p>
  ) : null;

/** A message about something that happened. */
export const Notice: FC<{ tone?: 'plain' | 'good' | 'warn' | 'bad'; children?: unknown }> = ({ tone = 'good', children }) => (
  <div class={`notice ${tone}`} role="status">
    {children}
  </div>
);

/** Returns a message of the registry as a sentence: with a capital letter and a period. */
export function sentence(message: string): string {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** A form with only one button, which changes something. */
export const ActionForm: FC<{
  action: string;
  label: string;
  fields?: Record<string, string>;
  tone?: 'plain' | 'main' | 'danger';
  name?: string;
  small?: boolean;
}> = ({ action, label, fields = {}, tone = 'plain', name, small = false }) => (
  <form method="post" action={action} class="inline">
    {Object.entries(fields).map(([key, value]) => (
      <input type="hidden" name={key} value={value} />
    ))}
    <button type="submit" class={small ? `${tone} small` : tone} aria-label={name}>
      {label}
    </button>
  </form>
);

/** The maximum number of characters of a name that the user must type to confirm. */
const CONFIRM_MAX = 255;

/** A field in which the user must type a name before something is done that cannot be undone. */
export const ConfirmName: FC<{ expected: string; refused?: Refused | undefined }> = ({ expected, refused }) => (
  <Input name="confirm" label={`Type ${expected} to confirm`} max={CONFIRM_MAX} mono required refused={refused} />
);
