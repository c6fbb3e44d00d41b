import { describe, expect, it } from 'vitest';

import type { Evaluation } from './queries';
import { scoresOf, shareBars } from './scores';

const score = (value: number) => ({ value, n: 10, low: value - 0.1, high: value + 0.1 });
const run = {
  suite: { metrics: ['exact_match', 'f1', 'perplexity'] },
  result: { metrics: { perplexity: score(4), f1: score(0.8), exact_match: score(0.7) } },
} as unknown as Evaluation;

describe('the scores of an evaluation', () => {
  it('come in the order of its suite', () => {
    expect(scoresOf(run).map(([name]) => name)).toEqual(['exact_match', 'f1', 'perplexity']);
  });

  it('share an axis only where they are shares', () => {
    expect(shareBars(run, (name) => name).map((bar) => bar.name)).toEqual(['exact_match', 'f1']);
  });

  it('are empty before there is a result', () => {
    expect(scoresOf({ ...run, result: null })).toEqual([]);
  });
});
