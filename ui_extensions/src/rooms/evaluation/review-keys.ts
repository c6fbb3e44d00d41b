import type { Schema } from '../../api/client';

export type Criterion = Schema<'Criterion'>;
export type Values = Record<string, number | string>;

export interface Choice {
  /** What the API takes. */
  value: number | string;
  /** The key that chooses it. */
  key: string;
}

const WORDS = { pass_fail: ['pass', 'fail'], pairwise: ['first', 'tie', 'second'] } as const;

/** The choices of a criterion with their keys: the digit itself on a scale of digits, else 1, 2, 3 … from the left. */
export function choicesOf(criterion: Criterion): Choice[] {
  if (criterion.kind !== 'scale') return WORDS[criterion.kind].map((value, index) => ({ value, key: String(index + 1) }));
  const low = criterion.low ?? 1;
  const high = criterion.high ?? 5;
  const steps = Array.from({ length: high - low + 1 }, (_, index) => low + index);
  const digits = low >= 0 && high <= 9;
  return steps.map((value, index) => ({ value, key: digits ? String(value) : String((index + 1) % 10) }));
}

/** The choice that comes `by` places after the present one; from none, the first or the last. Ends are ends. */
export function stepped(criterion: Criterion, present: number | string | undefined, by: 1 | -1): number | string {
  const choices = choicesOf(criterion);
  const at = choices.findIndex((it) => it.value === present);
  const next = at < 0 ? (by > 0 ? 0 : choices.length - 1) : Math.min(choices.length - 1, Math.max(0, at + by));
  return choices[next]?.value ?? present ?? '';
}

/** The first criterion after `from` that has no value yet, around the end; undefined when all have one. */
export function nextEmpty(criteria: readonly Criterion[], values: Values, from: number): number | undefined {
  const order = criteria.map((_, index) => (from + 1 + index) % criteria.length);
  const names = criteria.map((it) => it.name);
  return order.find((index) => !((names[index] ?? '') in values));
}
