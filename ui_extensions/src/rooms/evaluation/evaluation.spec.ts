import { describe, expect, it } from 'vitest';

import type { Comparison, Evaluation } from './queries';
import { scoresOf, shareBars, trendCurves } from './scores';

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

describe('the trend of a model', () => {
  const at = (value: number) => ({ ...run, result: { metrics: { f1: score(value), perplexity: score(9) } } }) as unknown as Evaluation;
  const step = (first: number, second: number, comparable = true) => ({ first: at(first), second: at(second), comparable }) as Comparison;

  it('is a curve for each share, a point for each evaluation', () => {
    expect(trendCurves([step(0.1, 0.2), step(0.2, 0.4)], (name) => name)).toEqual([
      { name: 'f1', points: [[1, 0.1], [2, 0.2], [3, 0.4]] },
    ]);
  });

  it('begins again where a run does not compare with the one before', () => {
    const [curve] = trendCurves([step(0.1, 0.2, false), step(0.2, 0.4)], (name) => name);
    expect(curve?.points).toEqual([[2, 0.2], [3, 0.4]]);
  });
});
