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

/** The shares of two runs, each metric of the first above that of the second. */
export function comparedBars(comparison: Comparison, label: (name: string) => string): Bar[] {
  const of = (run: Comparison['first'], name: string, score: Score | null): Bar[] =>
    score ? [{ name: `${label(name)} · ${run.modelName} ${run.modelVersion}`, value: score.value, low: score.low, high: score.high }] : [];
  return comparison.metrics
    .filter((it) => isShare(it.metric))
    .flatMap((it) => [...of(comparison.first, it.metric, it.first), ...of(comparison.second, it.metric, it.second)]);
}

export interface AnswersBeside {
  index: number;
  input: string;
  expected: string;
  /** `right`: whether a metric that tells right from wrong said so; missing where none did. */
  answers: { name: string; actual: string | null; right?: boolean }[];
  differs: boolean;
}

/** What runs on one benchmark answered to each question that all of them have, in its order. */
export function answersBeside(runs: readonly Evaluation[]): AnswersBeside[] {
  const samples = runs.map((run) => new Map((run.result?.samples ?? []).map((it) => [it.index, it])));
  return [...(samples[0]?.values() ?? [])].flatMap((first): AnswersBeside[] => {
    const same = samples.map((each) => each.get(first.index));
    if (same.some((it) => it?.input !== first.input)) return [];
    const answers = same.map((it, place) => {
      const told = it?.scores['exact_match'] ?? it?.scores['accuracy'];
      const name = `${runs[place]?.modelName} ${runs[place]?.modelVersion}`;
      return { name, actual: it?.actual ?? null, ...(told === undefined ? {} : { right: told === 1 }) };
    });
    const differs = new Set(answers.map((it) => it.actual)).size > 1;
    return [{ index: first.index, input: first.input, expected: first.expected, answers, differs }];
  });
}
