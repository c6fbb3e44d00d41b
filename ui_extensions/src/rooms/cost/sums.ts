import type { Dimension, Spending } from './queries';

export interface Sum {
  id: string;
  name: string;
  currency: string;
  amount: number;
  calls: number;
  promptTokens: number;
  completionTokens: number;
  unpriced: number;
}

/** Rows added up by one dimension and the currency, the dearest first. */
export function summed(rows: readonly Spending[], by: Dimension | 'day' | undefined): Sum[] {
  const found = new Map<string, Sum>();
  for (const row of rows) {
    const name = by === undefined ? '' : (row[by] ?? '');
    const id = `${name} ${row.currency}`;
    const none = { amount: 0, calls: 0, promptTokens: 0, completionTokens: 0, unpriced: 0 };
    const sum = found.get(id) ?? { id, name, currency: row.currency, ...none };
    found.set(id, {
      ...sum,
      amount: sum.amount + Number(row.amount),
      calls: sum.calls + row.calls,
      promptTokens: sum.promptTokens + row.promptTokens,
      completionTokens: sum.completionTokens + row.completionTokens,
      unpriced: sum.unpriced + row.unpriced,
    });
  }
  return [...found.values()].sort((a, b) => b.amount - a.amount || b.calls - a.calls || a.name.localeCompare(b.name));
}

/** Every day from the first that has something to the last, with what was spent on it. */
export function byDay(rows: readonly Spending[], currency: string): { day: string; amount: number; calls: number }[] {
  const days = new Map(summed(rows.filter((row) => row.currency === currency || row.amount === '0'), 'day').map((sum) => [sum.name, sum]));
  const names = [...days.keys()].filter(Boolean).sort();
  const first = names[0];
  const last = names.at(-1);
  if (first === undefined || last === undefined) return [];
  const found = [];
  for (let at = Date.parse(first); at <= Date.parse(last); at += 86_400_000) {
    const day = new Date(at).toISOString().slice(0, 10);
    found.push({ day, amount: days.get(day)?.amount ?? 0, calls: days.get(day)?.calls ?? 0 });
  }
  return found;
}

/** The currencies that occur, that with the most money first. */
export function currencies(rows: readonly Spending[]): string[] {
  return [...new Set(summed(rows, undefined).map((sum) => sum.currency))].filter(Boolean);
}

/** An amount as people read it, to the digits that matter. */
export function money(locale: string, amount: number | string, currency: string): string {
  const value = Number(amount);
  const digits = value !== 0 && Math.abs(value) < 1 ? 6 : 2;
  if (!currency) return new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
  return new Intl.NumberFormat(locale, { style: 'currency', currency, maximumFractionDigits: digits }).format(value);
}
