import { describe, expect, it } from 'vitest';

import type { Spending } from './queries';
import { byDay, currencies, money, summed } from './sums';

function row(day: string, route: string, amount: string, more: Partial<Spending> = {}): Spending {
  return { team: 'nlp', route, model: 'tiny', day, calls: 2, promptTokens: 10, completionTokens: 5, amount, currency: 'USD', unpriced: 0, ...more };
}

describe('spending', () => {
  const rows = [row('2026-11-01', 'a', '1.5'), row('2026-11-03', 'b', '0.25'), row('2026-11-03', 'a', '0.25'), row('2026-11-02', 'c', '0', { currency: '', unpriced: 2 })];

  it('is summed by a dimension, the dearest first, and currencies are not mixed', () => {
    expect(summed(rows, 'route').map(({ name, amount, calls }) => [name, amount, calls])).toEqual([['a', 1.75, 4], ['b', 0.25, 2], ['c', 0, 2]]);
    expect(summed([...rows, row('2026-11-03', 'a', '3', { currency: 'KRW' })], 'route').filter(({ name }) => name === 'a')).toHaveLength(2);
    expect(currencies(rows)).toEqual(['USD']);
  });

  it('has a column for every day between the first and the last', () => {
    expect(byDay(rows, 'USD')).toEqual([
      { day: '2026-11-01', amount: 1.5, calls: 2 },
      { day: '2026-11-02', amount: 0, calls: 2 },
      { day: '2026-11-03', amount: 0.5, calls: 4 },
    ]);
    expect(byDay([], 'USD')).toEqual([]);
  });

  it('is shown to the digits that matter', () => {
    expect(money('en', '12.5', 'USD')).toBe('$12.50');
    expect(money('en', '0.000125', 'USD')).toBe('$0.000125');
    expect(money('ko', '1200', 'KRW')).toContain('1,200');
  });
});
