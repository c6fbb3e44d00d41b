import type { Curve } from '../../kit/CurveChart.vue';
import type { Metric } from './queries';

/** The metrics of one name as a curve, ordered by step. */
export function curveOf(metrics: readonly Metric[], name: string, label = name): Curve {
  const points = metrics.filter((metric) => metric.name === name).map((metric): [number, number] => [metric.step ?? 0, metric.value]);
  return { name: label, points: points.sort((a, b) => a[0] - b[0]) };
}

/** The names that were measured, the losses first. */
export function metricNames(metrics: readonly Metric[]): string[] {
  const names = [...new Set(metrics.map((metric) => metric.name))];
  const rank = (name: string) => (name === 'loss' ? 0 : name.endsWith('loss') ? 1 : 2);
  return names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

/** The newest value of a metric. */
export function latest(metrics: readonly Metric[], name: string): number | undefined {
  return curveOf(metrics, name).points.at(-1)?.[1];
}
