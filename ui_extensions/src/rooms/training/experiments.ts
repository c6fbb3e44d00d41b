import { useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';
import type { Curve } from '../../kit/CurveChart.vue';
import { paced } from '../../kit/live';
import { isActive } from '../../kit/status';
import type { Metric } from './queries';

export type Comparison = Schema<'ExperimentComparison'>;
export type Compared = Schema<'Compared'>;
export type Summary = Schema<'ExperimentSummary'>;
export type LogLine = Schema<'LogLine'>;

export const COMPARED_AT_MOST = 10;
export const ROWS_A_PAGE = 50;
const LINES_A_PAGE = 1_000;

export interface Log {
  lines: LogLine[];
  next: number;
}

/** The curves of some jobs side by side, and where their parameters differ; of one job all of them. Followed while one runs. */
export function useComparison(
  ids: MaybeRefOrGetter<string[]>,
  names: MaybeRefOrGetter<string> = '',
  live: MaybeRefOrGetter<boolean> = false,
) {
  return useQuery({
    queryKey: ['experiments', 'compared', ids, names],
    queryFn: async ({ signal }) => {
      const query = { ids: toValue(ids).join(','), names: toValue(names) };
      const found = unwrap(await api.GET('/llm-ops/v1/training/experiments/compare', { params: { query }, signal }));
      return found as Comparison; // the client widens the pairs of a curve to lists
    },
    enabled: () => toValue(ids).length > 0,
    placeholderData: (previous) => previous,
    refetchInterval: ({ state }) =>
      (state.data?.experiments.some((experiment) => isActive(experiment.status)) ?? false) && paced(2_000, live),
  });
}

export function useRecord(id: MaybeRefOrGetter<string>, live: MaybeRefOrGetter<boolean> = false) {
  return useQuery({
    queryKey: ['experiments', 'record', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/training/experiments/{job_id}/record', { params: { path: { job_id: toValue(id) } }, signal })),
    refetchInterval: ({ state }) => isActive(state.data?.job.state.status) && paced(2_000, live),
  });
}

export interface ExperimentFilters {
  modelName: string;
  status: string;
  jobType: string;
  metric: string;
  where: string;
  order: string;
}

/** Experiments that match; by the last value of a metric where one is named and an order chosen. `live` while a stream tells of changes. */
export function useExperiments(filters: MaybeRefOrGetter<ExperimentFilters>, live: MaybeRefOrGetter<boolean> = false) {
  return useList<Summary>({
    key: () => ['experiments', 'list', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { modelName, status, jobType, metric, where, order } = toValue(filters);
      const query = {
        modelName: modelName || undefined,
        status: (status || undefined) as Summary['status'] | undefined,
        jobType: (jobType || undefined) as Summary['jobType'] | undefined,
        metric: metric || undefined,
        where: where || undefined,
        order: (metric && order ? order : 'newest') as 'newest' | 'lowest' | 'highest',
        limit: metric && order ? 500 : 50,
        cursor,
      };
      return unwrapPage(await api.GET('/llm-ops/v1/training/experiments', { params: { query }, signal }));
    },
    refreshAfter: (items) => items.some((experiment) => isActive(experiment.status)) && paced(10_000, live),
  });
}

/** The newest experiments, to choose from. */
export function useRecentExperiments() {
  return useQuery({
    queryKey: ['experiments', 'recent'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/training/experiments', { params: { query: { limit: 100 } }, signal })),
  });
}

/** One page of a metric's values, after a step. */
export function usePoints(id: MaybeRefOrGetter<string>, name: MaybeRefOrGetter<string>, afterStep: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: ['experiments', 'points', id, name, afterStep],
    queryFn: async ({ signal }) => {
      const query = { name: toValue(name), afterStep: toValue(afterStep), limit: ROWS_A_PAGE + 1 };
      const params = { path: { job_id: toValue(id) }, query };
      return unwrap(await api.GET('/llm-ops/v1/training/experiments/{job_id}/points', { params, signal }));
    },
    placeholderData: (previous) => previous,
  });
}

/** A job's log, of which each look fetches only what is new; followed while `active`. */
export function useLog(id: MaybeRefOrGetter<string>, active: MaybeRefOrGetter<boolean>, live: MaybeRefOrGetter<boolean>) {
  const cache = useQueryClient();
  return useQuery({
    queryKey: ['logs', id],
    queryFn: async ({ queryKey, signal }): Promise<Log> => {
      const known = cache.getQueryData<Log>(queryKey) ?? { lines: [], next: 0 };
      const fresh: LogLine[] = [];
      let { next } = known;
      for (let more = true; more; ) {
        const params = { path: { job_id: toValue(id) }, query: { after: next, limit: LINES_A_PAGE } };
        const page = unwrap(await api.GET('/llm-ops/v1/training/jobs/{job_id}/logs', { params, signal }));
        fresh.push(...page.lines);
        ({ next, more } = page);
      }
      return fresh.length ? { lines: [...known.lines, ...fresh], next } : known;
    },
    structuralSharing: false,
    refetchInterval: () => toValue(active) && paced(2_000, live),
  });
}

export function exportUrl(id: string, format: 'csv' | 'json'): string {
  return `/llm-ops/v1/training/experiments/${id}/export?format=${format}`;
}

/** What the job page draws: one job's curves as metrics, without those of its machine. */
export function metricsOf(comparison: Comparison): Metric[] {
  return comparison.metrics
    .filter((metric) => !isSystem(metric.name))
    .flatMap(({ name, unit, curves }) => curves.flatMap((curve) => curve.points.map(([step, value]) => ({ name, unit, step, value }))));
}

/** The curves of one metric, each named as its experiment. */
export function overlaid(metric: Compared, nameOf: (id: string) => string): Curve[] {
  return metric.curves.map((curve) => ({ name: nameOf(curve.jobId), points: curve.points }));
}

/** Names for experiments that differ also where the models they make have the same name. */
export function namesOf(experiments: readonly Summary[]): Map<string, string> {
  const plain = experiments.map((experiment) => `${experiment.outputModelName} ${experiment.outputVersion}`);
  const twice = new Set(plain.filter((name, index) => plain.indexOf(name) !== index));
  return new Map(experiments.map((experiment, index) => {
    const name = plain[index] ?? '';
    return [experiment.jobId, twice.has(name) ? `${name} · ${experiment.jobId.slice(0, 8)}` : name];
  }));
}

/** The best value of a curve, as far as the metric's name tells which way is good. */
export function bestOf(metric: Compared, jobId: string): number | undefined {
  const curve = metric.curves.find((each) => each.jobId === jobId);
  if (!curve || !metric.better) return undefined;
  return metric.better === 'lower' ? curve.lowest : curve.highest;
}

/** The experiment with the best value of a metric; none where it cannot be told, or there is nothing to win. */
export function winnerOf(metric: Compared): string | undefined {
  if (!metric.better || metric.curves.length < 2) return undefined;
  const sign = metric.better === 'lower' ? 1 : -1;
  const sorted = [...metric.curves].sort((a, b) => sign * (metric.better === 'lower' ? a.lowest - b.lowest : a.highest - b.highest));
  return sorted[0]?.jobId;
}

export function isSystem(name: string): boolean {
  return name.startsWith('system/');
}
