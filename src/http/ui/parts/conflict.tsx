/** What somebody else has saved since a form was opened, beside what the reader has typed. */
import type { FC } from 'hono/jsx';
import type { Refused } from './form.tsx';
import { Table } from './table.tsx';
import { Foreign } from './text.tsx';

interface Field {
  label: string;
  /** The name of the field in the form. */
  name: string;
  /** What the field would show if the form were opened now. */
  now: string;
  /** What was typed, if it is not the text of one field. */
  typed?: string;
}

/** Shown in a form that was refused because of another change. The form itself holds what was typed. */
export const Conflict: FC<{ refused: Refused | undefined; fields: readonly Field[] }> = ({ refused, fields }) => {
  if (refused?.refusal.reason !== 'version-mismatch') return null;
  const all = fields.map((field) => ({ ...field, typed: field.typed ?? refused.value(field.name).trim() }));
  const items = all.filter(({ typed, now }) => typed !== now);
  if (items.length === 0) return <p class="hint">What you typed is what stands now.</p>;
  return (
    <div class="field">
      <Table
        caption="What you typed, and what stands now"
        columns={[
          { head: 'Field', cell: ({ label }) => <span class="strong">{label}</span> },
          { head: 'You typed', cell: ({ typed }) => <Text text={typed} /> },
          { head: 'Stands now', cell: ({ now }) => <Text text={now} /> },
        ]}
        items={items}
      />
      <p class="hint">Saving again replaces what stands now.</p>
    </div>
  );
};

const Text: FC<{ text: string }> = ({ text }) => (text === '' ? <span class="soft">empty</span> : <Foreign text={text} />);
