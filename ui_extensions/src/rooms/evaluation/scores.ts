import type { Bar } from '../../kit/BarsChart.vue';
import type { Curve } from '../../kit/CurveChart.vue';
import { type Comparison, type Evaluation, METRICS, type Score } from './queries';

/** A metric as the API names it with its score, in the order of the suite. */
export function scoresOf(run: Evaluation): [name: string, score: Score][] {
  const order: readonly string[] = run.suite.metrics ?? [];
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return Object.entries(run.result?.metrics ?? {}).sort(([a], [b]) => place(a) - place(b));
}

/**
 * Perplexity and lengths have no upper end, BLEU and chrF run to 100, and a rubric's scale where it likes; only shares
 * between 0 and 1 belong on one axis.
 */
export function isShare(name: string): boolean {
  const known: readonly string[] = METRICS;
  return known.includes(name) && !['perplexity', 'byte_perplexity', 'answer_length', 'bleu', 'chrf'].includes(name);
}

/** The shares among the scores as bars with their intervals. */
export function shareBars(run: Evaluation, label: (name: string) => string): Bar[] {
  return scoresOf(run)
    .filter(([name]) => isShare(name))
    .map(([name, score]) => ({ name: label(name), value: score.value, low: score.low, high: score.high }));
}

/** The message key of a metric's name. */
export function metricKey(name: string): string {
  return `evaluation.metrics.${name}`;
}

/** The shares of a model's evaluations in order, a curve a metric; it breaks off before a run that does not compare. */
export function trendCurves(trend: readonly Comparison[], label: (name: string) => string): Curve[] {
  const broken = trend.map((it) => it.comparable).lastIndexOf(false);
  const kept = trend.slice(broken + 1);
  const runs = kept[0] ? [kept[0].first, ...kept.map((it) => it.second)] : [];
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.result?.metrics ?? {})))].filter(isShare);
  return names.map((name) => ({
    name: label(name),
    points: runs.flatMap((run, at): [number, number][] => {
      const score = run.result?.metrics[name];
      return score ? [[broken + 2 + at, score.value]] : [];
    }),
  }));
}
