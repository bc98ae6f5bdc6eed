/** Meters: how much of a limit is used, with the numbers beside the bar. */
import type { FC } from 'hono/jsx';
import type { BudgetState } from '../../../app/maintenance.ts';
import { Bar, bytesText } from './text.tsx';

/** The number of bytes that R2 stores for free (R2, "Pricing"). */
export const FREE_STORAGE = 10e9;

export interface MeterProps {
  label: string;
  used: number;
  /** The limit. `null` or `Infinity` if there is none. */
  of: number | null;
  unit?: 'bytes' | 'count';
}

export const Meter: FC<MeterProps> = ({ label, used, of, unit = 'count' }) => {
  const text = (value: number) => (unit === 'bytes' ? bytesText(value) : value.toLocaleString('en'));
  const isLimited = of !== null && Number.isFinite(of);
  const share = isLimited ? (of === 0 ? 1 : used / of) : 0;
  const figures = isLimited ? `${text(used)} of ${text(of)}` : `${text(used)}, no limit`;
  return (
    <div class="meter">
      <div>
        <span>{label}</span>
        <span class="figures">
          {figures}
          {isLimited ? <span class="soft"> {percentText(share)}</span> : null}
        </span>
      </div>
      {isLimited ? <Bar share={share} label={`${label}: ${figures}`} /> : null}
    </div>
  );
};

function percentText(share: number): string {
  const percent = share * 100;
  return percent > 0 && percent < 1 ? 'below 1 %' : `${Math.round(percent)} %`;
}

/** Returns the meters for how much of their daily budget background jobs have used. */
export function metersOfBudget({ budget, spent }: Pick<BudgetState, 'budget' | 'spent'>): MeterProps[] {
  return [
    { label: 'Database rows read', used: spent.rowsRead, of: budget.rowsRead },
    { label: 'Database rows written', used: spent.rowsWritten, of: budget.rowsWritten },
    { label: 'Queue operations', used: spent.queueOperations, of: budget.queueOperations },
  ];
}
