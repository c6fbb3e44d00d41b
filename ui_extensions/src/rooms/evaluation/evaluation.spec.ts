import { describe, expect, it } from 'vitest';

import { conditionOf, newCondition } from './gates';
import type { Comparison, Evaluation } from './queries';
import { answersBeside, comparedBars, scoresOf, shareBars, trendCurves } from './scores';

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

describe('runs side by side', () => {
  const sample = (index: number, actual: string | null, scores = {}) => ({ index, input: `q${index}`, expected: 'e', actual, scores });
  const answering = (name: string, samples: unknown[]) => ({ modelName: name, modelVersion: '1', result: { samples } }) as unknown as Evaluation;

  it('have the answers to the questions that all were asked, and tell which differ', () => {
    const one = answering('one', [sample(0, 'a', { exact_match: 1 }), sample(1, 'b'), sample(2, 'only here')]);
    const two = answering('two', [sample(0, 'x', { exact_match: 0 }), sample(1, 'b')]);
    expect(answersBeside([one, two]).map((it) => [it.index, it.differs])).toEqual([[0, true], [1, false]]);
    expect(answersBeside([one, two])[0]?.answers).toEqual([
      { name: 'one 1', actual: 'a', right: true },
      { name: 'two 1', actual: 'x', right: false },
    ]);
  });

  it('are bars, each share of one above that of the other', () => {
    const metrics = [
      { metric: 'f1', first: score(0.2), second: score(0.4) },
      { metric: 'perplexity', first: score(9), second: score(8) },
    ];
    const of = (name: string) => ({ modelName: name, modelVersion: '1' });
    const bars = comparedBars({ first: of('one'), second: of('two'), metrics } as Comparison, (name) => name);
    expect(bars.map((bar) => [bar.name, bar.value])).toEqual([['f1 · one 1', 0.2], ['f1 · two 1', 0.4]]);
  });
});

describe('a condition of a gate', () => {
  it('has one bound, or a margin against a baseline', () => {
    expect(conditionOf({ ...newCondition(), bound: '0.5', side: 'atMost' }, '')).toEqual({ kind: 'threshold', metric: 'f1', atMost: 0.5 });
    expect(conditionOf({ ...newCondition('non_inferiority'), baseline: ' ' }, '')).toEqual({
      kind: 'non_inferiority', metric: 'f1', margin: 0.02, baseline: 'current', higherIsBetter: true,
    });
  });

  it('of a judge names its rubric, and nobody where all count together', () => {
    const found = conditionOf({ ...newCondition('judge'), criterion: 'right', bound: '3' }, 'sha256:r');
    expect(found).toMatchObject({ kind: 'judge', rubric: 'sha256:r', criterion: 'right', judgeId: null, atLeast: 3 });
  });
});
